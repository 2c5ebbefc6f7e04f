import { AzekuraError } from '../../model/errors.ts';
import { sectorBytes } from '../../model/volume.ts';
import type { SnapshotIdentity, VolumeIdentity } from '../contract.ts';
import { type Plan, type Step, step } from './effects.ts';
import { encodeSnapshot, encodeVolume } from './format.ts';
import { recycledPlace, snapshotPlace, type VolumePlace, volumePlace, workPlace } from './layout.ts';

/**
 * The planners of the file engine: from what is wanted and what is seen to a list of steps. Pure, so that every way
 * through them can be tested: whatever prefix of a plan was carried out, planning again leads to the same end.
 */

export interface ExpandView {
  readonly sizeBytes: number;
  readonly identity: VolumeIdentity | undefined;
  readonly thick: boolean;
  readonly loop: { readonly device: string; readonly sizeBytes: number } | undefined;
}

/** @throws AzekuraError OutOfRange below the present size or for a size that cannot be */
export function planExpand(place: VolumePlace, sizeBytes: number, view: ExpandView): Plan {
  if (sizeBytes % sectorBytes !== 0) {
    throw new AzekuraError('OutOfRange', `the size ${sizeBytes} is not a multiple of ${sectorBytes} bytes`);
  }
  if (sizeBytes < view.sizeBytes) {
    throw new AzekuraError('OutOfRange', `the volume has ${view.sizeBytes} bytes already; volumes never shrink`);
  }
  const steps: Step[] = [];
  if (sizeBytes > view.sizeBytes) {
    steps.push(
      view.thick
        ? step('expand.allocate', { do: 'allocate', path: place.data, sizeBytes, unshare: false })
        : step('expand.size', { do: 'truncate', path: place.data, sizeBytes }),
    );
  }
  if (view.loop && view.loop.sizeBytes < sizeBytes) {
    steps.push(step('expand.device', { do: 'resizeLoop', device: view.loop.device }));
  }
  if (view.identity && view.identity.sizeBytes !== sizeBytes) {
    const text = encodeVolume({ ...view.identity, sizeBytes });
    steps.push(step('expand.identity', { do: 'write', path: place.identity, text, durable: true }));
  }
  return steps;
}

export interface PlaceView {
  readonly present: boolean;
  readonly recycled: boolean;
  readonly leftover: boolean;
}

/** The volume vanishes in one instant and is removed afterwards. @param view.unfinished folders of a move under `tmp/` */
export function planDelete(
  poolPath: string,
  volumeId: string,
  view: PlaceView & { readonly unfinished: readonly string[] },
): Plan {
  const work = workPlace(poolPath, 'delete', volumeId);
  const steps: Step[] = [...(view.leftover ? [work.folder] : []), ...view.unfinished].map((path) =>
    step('delete.clean', { do: 'remove', path }),
  );
  for (const place of [
    ...(view.present ? [volumePlace(poolPath, volumeId)] : []),
    ...(view.recycled ? [recycledPlace(poolPath, volumeId)] : []),
  ]) {
    steps.push(step('delete.hide', { do: 'rename', from: place.folder, to: work.folder }));
    steps.push(step('delete.remove', { do: 'remove', path: work.folder }));
  }
  return steps;
}

/** @param identity as it is now, with `recycled` set; undefined when it cannot be read: the volume is moved all the same */
export function planRecycle(
  poolPath: string,
  volumeId: string,
  identity: VolumeIdentity | undefined,
  view: PlaceView,
): Plan {
  if (!view.present) return [];
  const place = volumePlace(poolPath, volumeId);
  return [
    ...(identity
      ? [step('recycle.identity', { do: 'write', path: place.identity, text: encodeVolume(identity), durable: true })]
      : []),
    step('recycle.move', {
      do: 'rename',
      from: place.folder,
      to: recycledPlace(poolPath, volumeId).folder,
    }),
  ];
}

export function planRestoreRecycled(poolPath: string, identity: VolumeIdentity, view: PlaceView): Plan {
  const { volumeId } = identity;
  const place = volumePlace(poolPath, volumeId);
  const moved = step('undelete.move', {
    do: 'rename',
    from: recycledPlace(poolPath, volumeId).folder,
    to: place.folder,
    replace: false,
  });
  return [
    ...(view.recycled ? [moved] : []),
    step('undelete.identity', { do: 'write', path: place.identity, text: encodeVolume(identity), durable: true }),
  ];
}

/** The snapshot's bytes in place of the volume's: never smaller than the volume is now. */
export function planRestore(
  poolPath: string,
  volumeId: string,
  view: {
    readonly snapshotData: string;
    readonly snapshotBytes: number;
    readonly volumeBytes: number;
    readonly thick: boolean;
    readonly leftover: boolean;
  },
): Plan {
  const work = workPlace(poolPath, 'restore', volumeId);
  const { thick, snapshotBytes } = view;
  const sizeBytes = Math.max(view.volumeBytes, snapshotBytes);
  return [
    ...(view.leftover ? [step('restore.clean', { do: 'remove', path: work.folder })] : []),
    step('restore.begin', { do: 'folder', path: work.folder, durable: false }),
    step('restore.clone', { do: 'clone', from: view.snapshotData, to: work.data, hinted: !thick, live: false }),
    ...(thick ? [step('restore.allocate', { do: 'allocate', path: work.data, sizeBytes, unshare: true })] : []),
    ...(!thick && sizeBytes > snapshotBytes
      ? [step('restore.size', { do: 'truncate', path: work.data, sizeBytes })]
      : []),
    step('restore.replace', { do: 'rename', from: work.data, to: volumePlace(poolPath, volumeId).data, replace: true }),
    step('restore.end', { do: 'remove', path: work.folder }),
  ];
}

/** @param view.cut whether the work folder holds the cut snapshot */
export function planCommit(
  poolPath: string,
  identity: SnapshotIdentity,
  view: { readonly committed: boolean; readonly cut: boolean },
): Plan {
  if (view.committed) return [];
  if (!view.cut) {
    throw new AzekuraError('FailedPrecondition', `snapshot ${identity.snapshotId} has not been cut`, {
      next: 'take the snapshot anew',
    });
  }
  const work = workPlace(poolPath, 'snapshot', identity.snapshotId);
  const volume = volumePlace(poolPath, identity.volumeId);
  return [
    step('snapshot.identity', { do: 'write', path: work.identity, text: encodeSnapshot(identity), durable: false }),
    step('snapshot.identity', { do: 'folder', path: volume.snapshots, durable: true }),
    step('snapshot.publish', {
      do: 'rename',
      from: work.folder,
      to: snapshotPlace(volume, identity.snapshotId).folder,
      // The cut and the identity were written without a flush: both must be on the disk before the name is.
      contents: true,
    }),
  ];
}

export function planDeleteSnapshot(
  poolPath: string,
  volumeId: string,
  snapshotId: string,
  view: { readonly present: boolean; readonly leftover: boolean },
): Plan {
  const work = workPlace(poolPath, 'delete-snapshot', snapshotId);
  const place = snapshotPlace(volumePlace(poolPath, volumeId), snapshotId);
  return [
    ...(view.leftover ? [step('snapshot-delete.clean', { do: 'remove', path: work.folder })] : []),
    ...(view.present
      ? [
          step('snapshot-delete.hide', { do: 'rename', from: place.folder, to: work.folder }),
          step('snapshot-delete.remove', { do: 'remove', path: work.folder }),
        ]
      : []),
  ];
}
