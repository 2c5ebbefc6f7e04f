import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { TagChange } from '../../host/lvm/argv.ts';
import type { SnapshotIdentity, VolumeIdentity } from '../contract.ts';
import { SnapshotSchema, VolumeSchema } from '../identity.ts';

/*
 * What a logical volume of ours is stands in its tags: they are part of the group's metadata, which LVM writes in one
 * instant and keeps on every disk. docs/formats/lvm-pool.md describes them for people.
 */

/** On everything of ours; what has it not is never touched. */
export const ownTag = 'azekura';
const prefix = 'azk.';
/** LVM allows 1024 characters. */
const pieceLength = 900;
const nameLength = 64;

export type LvKind = 'volume' | 'snapshot' | 'pool' | 'part';

/**
 * new: being made, without meaning. ready: counts. cut: a snapshot that is not committed yet. bin: in the recycle bin.
 * gone: being deleted, with its snapshots.
 */
export type LvState = 'new' | 'ready' | 'cut' | 'bin' | 'gone';

/** What the tags of one logical volume say. */
export interface LvTags {
  readonly kind: LvKind;
  readonly state: LvState;
  readonly volumeId?: string | undefined;
  readonly snapshotId?: string | undefined;
  /** Of two ready volumes with one id the higher counts: that is how a restored one takes the other's place. */
  readonly generation: number;
  /** Never formatted, though it is meant for a file system. */
  readonly blank: boolean;
  /** From this byte on it may show what others have left: to be zeroed before it is used. */
  readonly zeroFrom?: number | undefined;
  /** The name of the volume or snapshot, for people who look with lvs. */
  readonly label?: string | undefined;
  /** The identity, packed. */
  readonly packed?: string | undefined;
}

export function writeTags(tags: LvTags): readonly string[] {
  const { kind, state, volumeId, snapshotId, generation, blank, zeroFrom, label, packed } = tags;
  const given = (key: string, value: string | undefined) => (value === undefined ? [] : [`${prefix}${key}=${value}`]);
  return [
    ownTag,
    ...given('kind', kind),
    ...given('state', state),
    ...given('volume', volumeId),
    ...given('snapshot', snapshotId),
    ...(generation === 0 ? [] : given('generation', String(generation))),
    ...(blank ? [`${prefix}blank`] : []),
    ...given('zerofrom', zeroFrom === undefined ? undefined : String(zeroFrom)),
    ...given('name', label === undefined ? undefined : plain(label)),
    ...pieces(packed ?? '').map((piece, index) => `${prefix}identity${index}=${piece}`),
  ];
}

const kinds: readonly string[] = ['volume', 'snapshot', 'pool', 'part'];
const states: readonly string[] = ['new', 'ready', 'cut', 'bin', 'gone'];

/** Undefined for what is not ours, or not understood: it is left alone. */
export function readTags(list: readonly string[]): LvTags | undefined {
  if (!list.includes(ownTag)) return undefined;
  const values = new Map<string, string>();
  for (const tag of list) {
    const [, key, value] = /^azk\.([a-z]+\d*)(?:=(.*))?$/.exec(tag) ?? [];
    if (key !== undefined) values.set(key, value ?? '');
  }
  const kind = values.get('kind') ?? '';
  const state = values.get('state') ?? '';
  if (!kinds.includes(kind) || !states.includes(state)) return undefined;
  let packed = '';
  for (let index = 0; values.has(`identity${index}`); index++) packed += values.get(`identity${index}`) ?? '';
  return {
    kind: kind as LvKind,
    state: state as LvState,
    volumeId: values.get('volume'),
    snapshotId: values.get('snapshot'),
    generation: Number(values.get('generation') ?? 0),
    blank: values.has('blank'),
    zeroFrom: values.has('zerofrom') ? Number(values.get('zerofrom')) : undefined,
    label: values.get('name'),
    packed: packed === '' ? undefined : packed,
  };
}

/** From what stands there to what should; the tags of others stay. */
export function changeTags(present: readonly string[], wanted: readonly string[]): TagChange {
  const ours = present.filter((tag) => tag === ownTag || tag.startsWith(prefix));
  return {
    add: wanted.filter((tag) => !present.includes(tag)),
    remove: ours.filter((tag) => !wanted.includes(tag)),
  };
}

/** LVM's alphabet for tags is small: the rest of a name becomes dots. */
function plain(label: string): string {
  return label.replace(/[^A-Za-z0-9_+.\-/=!:&#]/g, '.').slice(0, nameLength);
}

function pieces(text: string): readonly string[] {
  return text.match(new RegExp(`.{1,${pieceLength}}`, 'g')) ?? [];
}

/** JSON, deflated, in the alphabet of tags. */
function pack(value: object): string {
  return deflateRawSync(JSON.stringify(value), { level: 9 }).toString('base64url');
}

export const packVolume = (identity: VolumeIdentity): string => pack(VolumeSchema.parse(identity));
export const packSnapshot = (identity: SnapshotIdentity): string => pack(SnapshotSchema.parse(identity));

/** What was read: the identity, or one clause that says what is wrong with it. */
export type Unpacked<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

/** Longest identity that is believed. */
const unpackedLimitBytes = 1 << 20;

function unpack<T>(
  packed: string | undefined,
  schema: { safeParse(value: unknown): { success: boolean; data?: unknown } },
): Unpacked<T> {
  if (packed === undefined) return { ok: false, problem: 'its tags hold no identity' };
  try {
    const bytes = inflateRawSync(Buffer.from(packed, 'base64url'), { maxOutputLength: unpackedLimitBytes });
    const parsed = schema.safeParse(JSON.parse(bytes.toString('utf8')));
    return parsed.success
      ? { ok: true, value: parsed.data as T }
      : { ok: false, problem: 'the identity in its tags has fields missing or wrong' };
  } catch {
    return { ok: false, problem: 'the identity in its tags cannot be unpacked' };
  }
}

export const unpackVolume = (packed: string | undefined): Unpacked<VolumeIdentity> => unpack(packed, VolumeSchema);
export const unpackSnapshot = (packed: string | undefined): Unpacked<SnapshotIdentity> =>
  unpack(packed, SnapshotSchema);

const poolTagPrefix = 'azk.pool=';

/** The group's own tags: the pool's id. */
export const poolTag = (poolId: string): string => `${poolTagPrefix}${poolId}`;
export const poolIdOf = (tags: readonly string[]): string | undefined =>
  tags.find((tag) => tag.startsWith(poolTagPrefix))?.slice(poolTagPrefix.length);
