import type { LoopDevice } from '../../host/host.ts';
import type { ProbedFilesystem } from '../../host/kernel.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, hasCode } from '../../model/errors.ts';
import type { AttachedDevice, VolumeRef } from '../contract.ts';
import { type FileContext, inUse, lookIn, volumeMissing } from './context.ts';
import { poolFile, volumePlace } from './layout.ts';

/** What is known of a loop device once it stands. */
type AttachedLoop = Pick<LoopDevice, 'device' | 'deviceNumber' | 'directIo' | 'readOnly' | 'logicalBlockBytes'>;

/**
 * Puts a loop device on the volume's file, or finds the one that is there.
 *
 * @throws AzekuraError NotFound; ResourceExhausted with blame NoLoopDevices; FailedPrecondition when it is attached in
 *   the other mode
 */
export async function attachVolume(
  context: FileContext,
  volume: VolumeRef,
  options: { readonly readOnly: boolean; readonly probe?: boolean },
): Promise<AttachedDevice> {
  const { data } = volumePlace(context.poolPath(volume.pool), volume.volumeId);
  // Two attaches at once would each find no device and make one.
  return context.deps.locks.run(`file/attach/${data}`, async () => {
    const { loop, found } = await context.deps.steps.run('file.attach.loop', () =>
      findOrAttach(context, volume, data, options),
    );
    if (loop.readOnly === options.readOnly)
      return { ...describeAttached(volume.volumeId, data, loop), ...(found ? { found } : {}) };
    const mode = loop.readOnly ? 'read-only' : 'for writing';
    throw new AzekuraError('FailedPrecondition', `volume ${volume.volumeId} is attached ${mode} already`, {
      next: 'detach it first',
    });
  });
}

/** In one round trip when all is as it should be; only an error is worth a look at what is wrong. */
async function findOrAttach(
  context: FileContext,
  volume: VolumeRef,
  data: string,
  { readOnly, probe = false }: { readonly readOnly: boolean; readonly probe?: boolean },
): Promise<{ readonly loop: AttachedLoop; readonly found?: ProbedFilesystem | undefined }> {
  const kernel = context.volumeKernel(volume);
  const path = context.poolPath(volume.pool);
  const { poolId } = volume.pool;
  if (poolId === undefined) await lookIn(context, volume.pool, kernel, []);
  try {
    const attach = [
      // Whatever is mounted there now is the pool that is meant, or its files are not touched.
      { call: 'requireText', args: [`${path}/${poolFile}`, poolId ?? ''] },
      { call: 'attachLoop', args: [data, { readOnly, reuse: true }] },
    ] as const;
    if (!probe) return { loop: (await kernel.batch(attach))[1] };
    const [, loop, found] = await kernel.batch([...attach, { call: 'probeFilesystem', args: [data] }]);
    return { loop, found };
  } catch (error) {
    if (!hasCode(error, 'FailedPrecondition') && !hasCode(error, 'NotFound')) throw error;
    const [stat] = await lookIn(context, volume.pool, kernel, [{ call: 'stat', args: [data] }]);
    if (!stat) throw volumeMissing(volume);
    // It is the pool after all: only the first of the two files that say so is damaged.
    return { loop: await kernel.attachLoop(data, { readOnly, reuse: true }) };
  }
}

/** See EngineVolumes.glance. */
export function glanceAtVolume(
  context: FileContext,
  volume: VolumeRef,
): { readonly device: AttachedDevice | undefined } | undefined {
  const { data } = volumePlace(context.poolPath(volume.pool), volume.volumeId);
  const glance = context.deps.host.glanceAtLoop(data);
  return glance && { device: glance.loop && describeAttached(volume.volumeId, data, glance.loop) };
}

/** @throws AzekuraError FailedPrecondition with blame InUse and the holder's name */
export async function detachVolume(context: FileContext, volume: VolumeRef): Promise<void> {
  const { data } = volumePlace(context.poolPath(volume.pool), volume.volumeId);
  const kernel = context.volumeKernel(volume);
  await context.deps.locks.run(`file/attach/${data}`, async () => {
    const glance = context.deps.host.glanceAtLoop(data);
    const loop = glance?.loop ?? (await kernel.findLoop(data));
    if (!loop) return;
    await refuseWhileMounted(context, volume, loop);
    await context.deps.steps.run('file.detach.loop', async () => {
      try {
        await kernel.detachLoop(loop.device, loop.backingFile);
      } catch (error) {
        if (!hasCode(error, 'FailedPrecondition')) throw error;
        throw inUse(volume, await nameHolder(context, loop.device));
      }
    });
  });
}

/**
 * Swaps the file below a loop device that is in use (LOOP_CHANGE_FD). The kernel does that only while the device is
 * read-only, and nothing of the kind for one that is written: a loop device cannot be suspended, so there is no instant
 * at which the last changes could be copied with nobody writing more. Nor below a mounted file system: the swap counts as
 * a change of media (disk_force_media_change()), for which the kernel shuts the file system down; seen on 6.18.
 */
export async function takeOver(context: FileContext, from: VolumeRef, to: VolumeRef): Promise<void> {
  const source = volumePlace(context.poolPath(from.pool), from.volumeId).data;
  const target = volumePlace(context.poolPath(to.pool), to.volumeId).data;
  const kernel = context.volumeKernel(to);
  const [stat, there, loop] = await lookIn(context, to.pool, kernel, [
    { call: 'stat', args: [target] },
    { call: 'findLoop', args: [target] },
    { call: 'findLoop', args: [source] },
  ]);
  if (there || !loop) return;
  if (!stat) throw volumeMissing(to);
  if (!loop.readOnly)
    throw new AzekuraError('FailedPrecondition', `volume ${from.volumeId} is attached for writing`, {
      next: 'detach it, or attach it read-only; the kernel swaps the file below a read-only loop device only',
    });
  await refuseWhileMounted(context, from, loop);
  if (stat.sizeBytes !== loop.sizeBytes)
    throw new AzekuraError(
      'FailedPrecondition',
      `the device of volume ${from.volumeId} has ${loop.sizeBytes} bytes, its copy ${stat.sizeBytes}`,
      { next: 'detach it once; it is attached with its new size' },
    );
  await context.deps.steps.run('file.attach.swap', () => kernel.changeLoopFile(loop.device, target));
}

/** Asked first: the kernel takes a request to detach a mounted device and carries it out later, behind our back. */
async function refuseWhileMounted(context: FileContext, volume: VolumeRef, loop: LoopDevice): Promise<void> {
  const mounts = await context.deps.host.mounts();
  const mounted = mounts.find((mount) => mount.device === loop.deviceNumber);
  if (mounted) throw inUse(volume, `the mount at ${mounted.target}`);
}

async function nameHolder(context: FileContext, device: string): Promise<string> {
  const holders = await context.deps.host.holders({ device });
  return holders[0] ?? `an unknown holder of ${device}`;
}

/** @param label what messages call the volume */
export function describeAttached(label: string, data: string, loop: AttachedLoop): AttachedDevice {
  const details = { directIo: String(loop.directIo), logicalBlockBytes: String(loop.logicalBlockBytes) };
  return {
    device: loop.device,
    deviceNumber: loop.deviceNumber,
    readOnly: loop.readOnly,
    layers: [
      { kind: 'backing', name: data, target: data, details: {} },
      { kind: 'loop', name: loop.device, target: loop.device, details },
    ],
    causes: loop.directIo ? [] : [makeCause('NotDirectIo', { volume: label, device: loop.device })],
  };
}
