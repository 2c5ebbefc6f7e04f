import type { DeleteVolumeRequest } from '../../gen/csi/csi_pb.js';
import { AzekuraError } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { required } from '../common/arguments.ts';
import { type CsiContext, volumeHandle } from '../common/context.ts';
import { stateSentence } from '../common/failure.ts';
import type { Call } from '../grpc/call.ts';

/**
 * DeleteVolume: into the recycle bin, for the time that its class or its mutable parameter says. A volume that is not
 * there is no error.
 *
 * @throws AzekuraError FailedPrecondition while it is in use or has snapshots; Aborted, DeadlineExceeded
 */
export async function deleteVolume(
  context: CsiContext,
  request: DeleteVolumeRequest,
  call: Call,
): Promise<Record<string, never>> {
  const handle = required(request.volumeId, 'volume_id');
  return context.locks.run({ exclusive: [`volume/${handle}`] }, async () => {
    const volume = await context.findVolume(handle);
    if (!volume) return {};
    // Snapshots go with their volume into the bin: CSI would lose sight of them, so the volume stays until they are gone.
    const [snapshot, ...more] = context.deps.view
      .snapshotsOf(handle)
      .filter(({ metadata }) => !metadata.deletionTimestamp);
    if (snapshot && !volume.metadata.deletionTimestamp)
      throw new AzekuraError(
        'FailedPrecondition',
        `volume ${volume.metadata.name} has ${more.length + 1} snapshots, among them ${snapshot.metadata.name}`,
        { next: 'delete its snapshots first' },
      );
    await removeVolume(context, volume, call, {});
    return {};
  });
}

/** Deletes a volume and waits until it is gone. */
export async function removeVolume(
  context: CsiContext,
  volume: Volume,
  call: Call,
  options: { readonly skipRecycleBin?: boolean },
): Promise<void> {
  const { name, uid } = volume.metadata;
  const { store, operations } = context.deps;
  if (!volume.metadata.deletionTimestamp) await operations.as(call).deleteVolume(name, options);
  if ((await store.find('Volume', name))?.metadata.uid !== uid) return;
  await context.volumes.until(name, call, {
    since: volume,
    look: (object) => (object?.metadata.uid === uid ? undefined : true),
    describe: (object) => stateSentence(`volume ${name} (${volumeHandle(volume)})`, object),
  });
}
