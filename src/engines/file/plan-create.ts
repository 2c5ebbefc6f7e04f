import { AzekuraError } from '../../model/errors.ts';
import { sectorBytes } from '../../model/volume.ts';
import type { VolumeIdentity } from '../contract.ts';
import { type Plan, type Step, step } from './effects.ts';
import { encodeVolume } from './format.ts';
import { moveNote, snapshotPlace, templatePath, type VolumePlace, volumePlace, workPlace } from './layout.ts';
import { encodeNote } from './move-note.ts';
import { templateName } from './template-options.ts';

/** mkfs.xfs refuses less. */
export const minimumXfsBytes = 300 * 2 ** 20;
export const minimumExt4Bytes = 8 * 2 ** 20;

/** Where a new volume's bytes come from, with what was seen of it. */
export type CreateSource =
  | { readonly kind: 'blank' }
  /** `live` while the source's data may be written. */
  | { readonly kind: 'clone'; readonly data: string; readonly sizeBytes: number; readonly live: boolean }
  | {
      readonly kind: 'move';
      readonly data: string;
      readonly sizeBytes: number;
      /** The oldest first. */
      readonly snapshots: readonly MovedSnapshot[];
      /** Undefined where none can be made: then `data` itself is copied. */
      readonly fixed?: FixedSource;
    };

/** A clone of a volume that is moved, beside it; and how much of it an earlier attempt has copied. */
export interface FixedSource {
  readonly folder: string;
  readonly data: string;
  readonly sizeBytes: number;
  readonly token: string;
  readonly copiedBytes: number;
  /** Snapshots whose copies are complete. */
  readonly snapshotIds: readonly string[];
  /** Those of which there is anything. */
  readonly begunIds: readonly string[];
}

export interface MovedSnapshot {
  readonly snapshotId: string;
  readonly data: string;
  readonly sizeBytes: number;
  /** The identity file's text, taken over as it is, even when it is damaged. */
  readonly identityText: string | undefined;
}

export interface CreateView {
  readonly present: boolean;
  readonly recycled: boolean;
  /** Something is left of an earlier attempt. */
  readonly leftover: boolean;
  readonly source: CreateSource;
}

/** @throws AzekuraError OutOfRange for a size that cannot be, FailedPrecondition when the id rests in the recycle bin */
export function planCreate(poolPath: string, identity: VolumeIdentity, view: CreateView): Plan {
  if (view.present) return [];
  if (view.recycled) {
    throw new AzekuraError('FailedPrecondition', `volume ${identity.volumeId} rests in the recycle bin of its pool`, {
      next: 'take it back with `azekura volume undelete`',
    });
  }
  checkSize(identity, view.source);
  const work = workPlace(poolPath, 'create', identity.volumeId);
  const goesOn = view.source.kind === 'move' && (view.source.fixed?.copiedBytes ?? 0) > 0;
  return [
    ...(view.leftover && !goesOn ? [step('create.clean', { do: 'remove', path: work.folder })] : []),
    step('create.build', { do: 'folder', path: work.folder, durable: false }),
    ...planData(poolPath, identity, view.source, work),
    step('create.build', { do: 'write', path: work.identity, text: encodeVolume(identity), durable: false }),
    step('create.publish', {
      do: 'rename',
      from: work.folder,
      to: volumePlace(poolPath, identity.volumeId).folder,
      contents: true,
    }),
  ];
}

function checkSize(identity: VolumeIdentity, source: CreateSource): void {
  const { sizeBytes } = identity;
  if (sizeBytes <= 0 || sizeBytes % sectorBytes !== 0) {
    throw new AzekuraError('OutOfRange', `the size ${sizeBytes} is not a positive multiple of ${sectorBytes} bytes`);
  }
  if (source.kind !== 'blank') {
    if (sizeBytes >= source.sizeBytes) return;
    throw new AzekuraError(
      'OutOfRange',
      `the size ${sizeBytes} is smaller than that of its source, ${source.sizeBytes}`,
    );
  }
  if (identity.mode !== 'filesystem') return;
  const minimum = identity.filesystem === 'xfs' ? minimumXfsBytes : minimumExt4Bytes;
  if (sizeBytes < minimum) {
    throw new AzekuraError(
      'OutOfRange',
      `a volume with ${identity.filesystem ?? 'a file system'} needs at least ${minimum / 2 ** 20}Mi`,
      {
        next: identity.filesystem === 'xfs' ? 'ask for more, or use ext4 or a raw block volume' : 'ask for more',
      },
    );
  }
}

function planData(poolPath: string, identity: VolumeIdentity, source: CreateSource, work: VolumePlace): Step[] {
  const { sizeBytes, filesystem } = identity;
  const thick = identity.provisioning === 'thick';
  const hinted = !thick;
  // Templates and UUIDs are for file systems that lie there in the clear.
  const formatted = identity.mode === 'filesystem' && !identity.encryption;
  const grown = (unshare: boolean): Step[] =>
    thick ? [step('create.build', { do: 'allocate', path: work.data, sizeBytes, unshare })] : [];
  if (source.kind === 'move') {
    return [
      ...planMoved(source, work, hinted),
      ...truncated(sizeBytes, source.sizeBytes, work, thick),
      ...grown(source.snapshots.length > 0),
      ...(source.fixed ? [step('create.build', { do: 'remove', path: moveNote(work) })] : []),
    ];
  }
  if (source.kind === 'clone') {
    const { data, live } = source;
    return [
      step('create.clone', { do: 'clone', from: data, to: work.data, hinted, live }),
      // The UUID first: it lies within the source's size, and a thick volume unshares it below.
      ...(formatted && filesystem
        ? [step('create.uuid', { do: 'freshUuid', path: work.data, filesystem, fresh: false })]
        : []),
      ...truncated(sizeBytes, source.sizeBytes, work, thick),
      ...grown(true),
    ];
  }
  if (formatted && filesystem) {
    const template = templatePath(poolPath, templateName(filesystem, sizeBytes));
    return [
      step('create.build', { do: 'template', filesystem, sizeBytes, from: template, to: work.data, hinted }),
      step('create.build', { do: 'freshUuid', path: work.data, filesystem, fresh: true }),
      ...grown(true),
    ];
  }
  return [step('create.build', { do: 'sparse', path: work.data, sizeBytes, hinted }), ...grown(false)];
}

function truncated(sizeBytes: number, sourceBytes: number, work: VolumePlace, thick: boolean): Step[] {
  return sizeBytes > sourceBytes && !thick
    ? [step('create.build', { do: 'truncate', path: work.data, sizeBytes })]
    : [];
}

/**
 * The volume first, then its snapshots, the youngest before the older ones: each begins as a clone of the copy before it,
 * so that on the other side they share as much as here. What an earlier attempt has copied stays; what came into the volume
 * after its clone was made is brought over at the end.
 */
function planMoved(source: Extract<CreateSource, { kind: 'move' }>, work: VolumePlace, hinted: boolean): Step[] {
  const { fixed } = source;
  const from = fixed?.data ?? source.data;
  const steps: Step[] = fixed ? planFixed(fixed, source, work, hinted) : [];
  if (!fixed)
    steps.push(step('create.move-data', { do: 'copy', from, to: work.data, sizeBytes: source.sizeBytes, hinted }));
  let before = { from, to: work.data };
  const copied = new Set(fixed?.snapshotIds);
  for (const { snapshotId, data, sizeBytes, identityText } of source.snapshots.toReversed()) {
    const place = snapshotPlace(work, snapshotId);
    const file = { from: data, to: place.data };
    if (!copied.has(snapshotId)) {
      steps.push(
        step('create.move-folder', { do: 'folder', path: place.folder, durable: true }),
        step('create.move-snapshot', {
          do: 'copyChanges',
          base: before.from,
          previous: before.to,
          ...file,
          sizeBytes,
          hinted: false,
        }),
      );
      if (identityText !== undefined) {
        const effect = { do: 'write', path: place.identity, text: identityText, durable: true } as const;
        steps.push(step('create.move-identity', effect));
      }
      copied.add(snapshotId);
      if (fixed) steps.push(noted(fixed, work, [...copied]));
    }
    before = file;
  }
  if (fixed)
    steps.push(
      step('create.move-rest', {
        do: 'catchUp',
        base: fixed.data,
        from: source.data,
        to: work.data,
        sizeBytes: source.sizeBytes,
      }),
      step('create.move-end', { do: 'remove', path: fixed.folder }),
    );
  return steps;
}

/** The data, unless it is copied; and away with copies of snapshots that are no more. */
function planFixed(
  fixed: FixedSource,
  source: Extract<CreateSource, { kind: 'move' }>,
  work: VolumePlace,
  hinted: boolean,
): Step[] {
  const { data, sizeBytes, copiedBytes, token } = fixed;
  const steps: Step[] = fixed.begunIds
    .filter((id) => !source.snapshots.some(({ snapshotId }) => snapshotId === id))
    .map((id) => step('create.move-clean', { do: 'remove', path: snapshotPlace(work, id).folder }));
  const note = { path: moveNote(work), token };
  const copy = { do: 'copyOn', from: data, to: work.data, sizeBytes, hinted, fromBytes: copiedBytes, note } as const;
  return copiedBytes < sizeBytes ? [...steps, step('create.move-data', copy)] : steps;
}

function noted({ token, sizeBytes }: FixedSource, work: VolumePlace, snapshotIds: readonly string[]): Step {
  const text = encodeNote({ token, copiedBytes: sizeBytes, snapshotIds });
  return step('create.move-identity', { do: 'write', path: moveNote(work), text, durable: true });
}
