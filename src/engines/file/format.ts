import { createHash } from 'node:crypto';
import { z } from 'zod';
import { Timestamp } from '../../model/meta.ts';
import type { SnapshotIdentity, VolumeIdentity } from '../contract.ts';
import { SnapshotSchema, VolumeSchema } from '../identity.ts';
import { isId } from './layout.ts';

/**
 * The identity files of pools, volumes and snapshots: readable JSON with a version and a checksum. Pure.
 * docs/formats/file-pool.md describes them for people; a change of meaning needs a new version number there and here.
 */

/** What was read: the identity, or one clause that says what is wrong with the file. */
export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

export interface PoolIdentity {
  readonly id: string;
  readonly name: string;
  readonly nodeName: string;
  readonly engine: 'file';
  readonly createdAt: string;
}

const formatVersion = 1;
const Text = z.string().max(1024);
const Id = z.string().refine(isId, 'is not an id');

const PoolSchema = z.object({ id: Id, name: Text, nodeName: Text, engine: z.literal('file'), createdAt: Timestamp });

export function encodePool(pool: PoolIdentity): string {
  return encode('pool', PoolSchema.parse(pool));
}

export function decodePool(text: string | undefined): Decoded<PoolIdentity> {
  return decode('pool', PoolSchema, text);
}

/** @throws ZodError for an identity that could not be read back */
export function encodeVolume(identity: VolumeIdentity): string {
  return encode('volume', VolumeSchema.parse(identity));
}

/** @param text of the file; undefined when there is none */
export function decodeVolume(text: string | undefined): Decoded<VolumeIdentity> {
  return decode('volume', VolumeSchema, text) as Decoded<VolumeIdentity>;
}

export function encodeSnapshot(identity: SnapshotIdentity): string {
  return encode('snapshot', SnapshotSchema.parse(identity));
}

export function decodeSnapshot(text: string | undefined): Decoded<SnapshotIdentity> {
  return decode('snapshot', SnapshotSchema, text) as Decoded<SnapshotIdentity>;
}

type Subject = 'pool' | 'volume' | 'snapshot';

function encode(subject: Subject, identity: object): string {
  const content = { format: `azekura-${subject}`, version: formatVersion, [subject]: identity };
  return `${JSON.stringify({ ...content, checksum: checksumOf(content) }, null, 2)}\n`;
}

function decode<T>(subject: Subject, schema: z.ZodType<T>, text: string | undefined): Decoded<T> {
  if (text === undefined) return problem('it is missing');
  if (text === '') return problem('it is empty');
  const content = parseObject(text);
  if (!content) return problem('it is not a JSON object');
  if (content.format !== `azekura-${subject}`) return problem(`it does not say that it describes a ${subject}`);
  if (typeof content.version !== 'number') return problem('it has no version');
  if (content.version > formatVersion) return problem(`it has version ${content.version}, written by a newer Azekura`);
  const { checksum, ...rest } = content;
  if (checksum !== checksumOf(rest)) return problem('its checksum is wrong');
  const parsed = schema.safeParse(content[subject]);
  if (parsed.success) return { ok: true, value: parsed.data };
  const issue = parsed.error.issues[0];
  return problem(`${issue?.path.join('.') || subject}: ${issue?.message ?? 'invalid'}`);
}

function problem(text: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem: text };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** SHA-256 of the canonical form of everything but the checksum. */
function checksumOf(content: object): string {
  return `sha256:${createHash('sha256').update(canonicalJson(content)).digest('hex')}`;
}

/** JSON without white space, the keys of every object sorted: what `jq -cS` prints. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

/** The text of the pool's README.txt: how to read everything with stock tools. */
export function readmeText(pool: PoolIdentity): string {
  return `This folder is a pool of Azekura, named "${pool.name}". It can be read without Azekura.

volumes/<id>/data                   one volume: a disk image, either a bare file system or whatever was written to it
volumes/<id>/identity.json          its name, size, claim and times, as text
volumes/<id>/snapshots/<id>/data    a snapshot of it: an image of its own that shares blocks with the volume
recycled/<id>/...                   deleted volumes that can still be taken back
templates, tmp, ballast             hold no data of yours

To read a volume (copy it first when you are not sure; add nouuid for snapshots of XFS):
  mount -o loop,ro volumes/<id>/data /mnt
  mount -o loop,ro,norecovery,nouuid volumes/<id>/snapshots/<id>/data /mnt
To find a volume by its name:
  grep -l '"name": "db"' volumes/*/identity.json
Or, with Azekura's program and no server: azekura rescue list <this folder>
`;
}
