/**
 * The copy of a volume's header, in the folder that the engine below has for small files: for a header that is damaged,
 * and for bytes from before a change of key, whose own header the present key does not open.
 */
import type { Kernel } from '../../host/kernel.ts';
import type { LuksKey } from '../../host/luks/run.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { AttachedDevice, VolumeIdentity, VolumeRef } from '../contract.ts';
import { deviceOf, type EncryptedContext } from './context.ts';
import type { LuksDevice } from './device.ts';
import { layerOf } from './identity.ts';

/** Name of the header's copy in the volume's companion folder. */
const headerFile = 'luks-header';

/** Where the copy of a volume's header lies, or would; undefined where the engine below has no place for it. */
async function placeOf({ inner }: EncryptedContext, volume: VolumeRef): Promise<string | undefined> {
  const folder = await inner.volumes.companionFolder?.(volume);
  return folder === undefined ? undefined : `${folder}/${headerFile}`;
}

/** The same where no copy lies yet; undefined also where one does. */
async function freePlaceOf(context: EncryptedContext, volume: VolumeRef): Promise<string | undefined> {
  const file = await placeOf(context, volume);
  return file === undefined || (await kernelOf(context, volume).stat(file)) ? undefined : file;
}

function kernelOf({ deps }: EncryptedContext, { volumeId }: VolumeRef): Kernel {
  return deps.host.kernel(`volume/${volumeId}`);
}

/**
 * Copies the header as it is now, in the place of the copy that was there.
 *
 * @param path the stored bytes: a device
 */
export async function keepHeader(
  context: EncryptedContext,
  volume: VolumeRef,
  device: LuksDevice,
  path: string,
): Promise<void> {
  const file = await placeOf(context, volume);
  if (file !== undefined) await device.backUp(path, file);
}

/** The same when there is no copy yet. One that cannot be made, because the pool is full, keeps nobody from using the volume. */
export async function keepMissingHeader(
  context: EncryptedContext,
  volume: VolumeRef,
  device: LuksDevice,
  path: string,
): Promise<void> {
  const file = await freePlaceOf(context, volume);
  if (file === undefined) return;
  await unlessRefused(context, volume, () => device.backUp(path, file));
}

/**
 * The same for a volume that is not attached, as before another header takes the place of its own. One that is damaged
 * can be replaced all the same.
 */
export async function keepHeaderAtRest(context: EncryptedContext, volume: VolumeRef): Promise<void> {
  const { inner } = context;
  const { present, identity, attached } = await inner.volumes.observe(volume);
  if (!present || attached || layerOf(identity).state === 'blank') return;
  const file = await freePlaceOf(context, volume);
  if (file === undefined) return;
  await unlessRefused(context, volume, async () => {
    const { device } = await inner.volumes.attach(volume, { readOnly: true });
    try {
      await deviceOf(context, volume, identity).backUp(device, file);
    } finally {
      await inner.volumes.detach(volume);
    }
  });
}

/**
 * Takes the copy along to another pool, where the volume's snapshots may need it. A crash before leaves it to the next
 * attach.
 */
export async function carryHeader(context: EncryptedContext, from: VolumeRef, to: VolumeRef): Promise<void> {
  const { identity, present } = await context.inner.volumes.observe(from);
  if (!present) return;
  const [source, target] = [await placeOf(context, from), await placeOf(context, to)];
  if (source === undefined || target === undefined) return;
  const kernel = kernelOf(context, to);
  if (!(await kernel.stat(source)) || (await kernel.stat(target))) return;
  // A copy can be copied as a header can.
  await unlessRefused(context, to, () => deviceOf(context, to, identity).backUp(source, target));
}

async function unlessRefused({ deps }: EncryptedContext, volume: VolumeRef, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof AzekuraError) || error.blame?.code === 'HungCall') throw error;
    deps.log.warn({ err: error, volumeId: volume.volumeId }, 'there is no copy of the encryption header');
  }
}

/**
 * A snapshot from before a change of key has the header of its time; restored or cloned, its volume is opened by the
 * present key all the same, when the present header is kept here and is of the same volume key.
 *
 * @returns whether the device has a header now that one of the keys opens
 */
export async function takeNewerHeader(
  context: EncryptedContext,
  volume: VolumeRef,
  work: {
    readonly identity: VolumeIdentity | undefined;
    readonly device: LuksDevice;
    readonly below: AttachedDevice;
    readonly keys: readonly LuksKey[];
  },
): Promise<boolean> {
  const { identity, device, below, keys } = work;
  const [, origin] = /^(?:snapshot|volume) ([0-9a-z-]+)/.exec(identity?.parent ?? '') ?? [];
  for (const volumeId of [volume.volumeId, ...(origin === undefined ? [] : [origin])]) {
    const place = { ...volume, volumeId };
    if (!(await context.inner.volumes.observe(place)).present) continue;
    const file = await placeOf(context, place);
    if (file === undefined || !(await kernelOf(context, volume).stat(file))) continue;
    if (!(await device.sameVolumeKey(file, below.device))) continue;
    for (const key of keys) {
      if ((await device.slotOf(file, key)) === undefined) continue;
      await device.putBack(below.device, file);
      await device.giveOwnUuid(below.device);
      return true;
    }
  }
  return false;
}
