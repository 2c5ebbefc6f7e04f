import type { BlockNode } from '../../host/host.ts';
import type { LuksKey } from '../../host/luks/run.ts';
import { AzekuraError, toAzekuraError } from '../../model/errors.ts';
import type {
  AttachedDevice,
  CreateVolume,
  EncryptionLayer,
  EngineVolumes,
  VolumeIdentity,
  VolumeObservation,
  VolumeRef,
} from '../contract.ts';
import { deviceOf, type EncryptedContext } from './context.ts';
import { type LuksDevice, wrongKey } from './device.ts';
import { carryHeader, keepHeader, keepMissingHeader, takeNewerHeader } from './header.ts';
import { blankLayer, inward, layerOf, outward } from './identity.ts';

export function encryptedVolumes(context: EncryptedContext): EngineVolumes {
  const { volumes } = context.inner;
  const { takeOver, recycle, restoreRecycled, configure, companionFolder } = volumes;
  return {
    create: (request) => create(context, request),
    observe: (volume) => observe(context, volume),
    usage: (volume) => volumes.usage(volume),
    setIdentity: async (volume, identity) =>
      volumes.setIdentity(volume, inward(identity, await layerNow(context, volume))),
    expand: (volume, sizeBytes) => expand(context, volume, sizeBytes),
    attach: (volume, options) => attach(context, volume, options),
    markFormatted: (volume) => markFormatted(context, volume),
    detach: (volume) => detach(context, volume),
    changeKey: (volume) => changeKey(context, volume),
    delete: (volume) => volumes.delete(volume),
    ...(configure ? { configure } : {}),
    ...(takeOver ? { takeOver } : {}),
    ...(recycle ? { recycle } : {}),
    ...(companionFolder ? { companionFolder } : {}),
    ...(restoreRecycled
      ? {
          restoreRecycled: async (volume, identity) =>
            restoreRecycled(volume, inward(identity, await layerNow(context, volume))),
        }
      : {}),
  };
}

async function layerNow({ inner }: EncryptedContext, volume: VolumeRef): Promise<EncryptionLayer> {
  return layerOf((await inner.volumes.observe(volume)).identity);
}

/** The device is made larger by the header. What a clone begins with is what its source has. */
async function create(context: EncryptedContext, request: CreateVolume): Promise<void> {
  // With the header the engine below would find it large enough.
  if (request.identity.sizeBytes <= 0)
    throw new AzekuraError('OutOfRange', `a volume of ${request.identity.sizeBytes} bytes cannot be`);
  const { volume, source } = request;
  const layer = await layerOfSource(context, request);
  await context.inner.volumes.create({ ...request, identity: inward(request.identity, layer) });
  if (source?.kind === 'move') await carryHeader(context, source.volume, volume);
}

async function layerOfSource({ inner }: EncryptedContext, { source }: CreateVolume): Promise<EncryptionLayer> {
  if (!source) return blankLayer;
  if (source.kind !== 'snapshot') return layerOf((await inner.volumes.observe(source.volume)).identity);
  const seen = await inner.snapshots?.observe(source.snapshot);
  return seen?.identity?.encryption ?? { ...blankLayer, state: 'ready' };
}

async function observe(context: EncryptedContext, volume: VolumeRef): Promise<VolumeObservation> {
  const seen = await context.inner.volumes.observe(volume);
  const layer = layerOf(seen.identity);
  const { attached: below, identity, ...rest } = seen;
  const mapping = below && (await deviceOf(context, volume, identity).mapping(below.device));
  const attached = below && describe(below, mapping, layer, identity);
  const stored = Math.max(0, seen.sizeBytes - layer.headerBytes);
  return {
    ...rest,
    // A growth that was interrupted has not come to the mapping yet.
    sizeBytes: mapping ? Math.min(stored, mapping.sizeBytes) : stored,
    ...(identity ? { identity: outward(identity) } : {}),
    ...(attached ? { attached } : {}),
  };
}

function describe(
  below: AttachedDevice,
  mapping: BlockNode | undefined,
  { state }: EncryptionLayer,
  identity: VolumeIdentity | undefined,
): AttachedDevice {
  const { blank: _, deviceNumber: __, ...rest } = below;
  if (!mapping) return { ...rest, partial: true };
  const blank = identity?.mode === 'filesystem' && state !== 'ready';
  const target = mapping.path;
  return {
    ...rest,
    device: target,
    deviceNumber: mapping.deviceNumber,
    readOnly: mapping.readOnly,
    ...(blank ? { blank: true as const } : {}),
    layers: [...below.layers, { kind: 'luks', name: mapping.mapped?.name ?? '', target, details: {} }],
  };
}

async function attach(
  context: EncryptedContext,
  volume: VolumeRef,
  options: { readonly readOnly: boolean },
): Promise<AttachedDevice> {
  const { inner } = context;
  const seen = await inner.volumes.observe(volume);
  const { identity } = seen;
  const layer = layerOf(identity);
  const device = deviceOf(context, volume, identity);
  const open = seen.attached && (await device.mapping(seen.attached.device));
  if (seen.attached && open) {
    if (open.readOnly === options.readOnly) return describe(seen.attached, open, layer, identity);
    const mode = open.readOnly ? 'read-only' : 'for writing';
    const problem = `volume ${volume.volumeId} is attached ${mode} already`;
    throw new AzekuraError('FailedPrecondition', problem, { next: 'detach it first' });
  }
  if (seen.present && layer.state === 'blank' && options.readOnly)
    throw new AzekuraError(
      'FailedPrecondition',
      `volume ${identity?.name ?? volume.volumeId} has never been written to, and it is attached read-only`,
      { next: 'attach it for writing first' },
    );
  // Before anything is touched: without a key nothing of it is attached.
  const keys = seen.present ? await context.keysOf(volume) : undefined;
  const below = await inner.volumes.attach(volume, { readOnly: options.readOnly });
  if (!keys) throw new AzekuraError('NotFound', `volume ${volume.volumeId} is not in pool ${volume.pool.name}`);
  try {
    return await bringUp(context, volume, { identity, device, below, keys, readOnly: options.readOnly });
  } catch (error) {
    // A device that is of no use is not left behind; the error is the first one's.
    if (toAzekuraError(error).blame?.code !== 'HungCall' && !seen.attached)
      await inner.volumes
        .detach(volume)
        .catch((err: unknown) => context.deps.log.warn({ err, volumeId: volume.volumeId }, 'not detached again'));
    throw error;
  }
}

interface BringUp {
  readonly identity: VolumeIdentity | undefined;
  readonly device: LuksDevice;
  readonly below: AttachedDevice;
  readonly keys: readonly [LuksKey, ...LuksKey[]];
  readonly readOnly: boolean;
}

async function bringUp(context: EncryptedContext, volume: VolumeRef, work: BringUp): Promise<AttachedDevice> {
  const { device, below, keys, readOnly } = work;
  let { identity } = work;
  if (identity && layerOf(identity).state === 'blank') {
    await device.format(below.device, keys[0]);
    identity = await note(context, volume, identity, identity.mode === 'block' ? 'ready' : 'header');
  } else if (!readOnly) await device.giveOwnUuid(below.device);
  const opening = { readOnly, discards: context.discards };
  let index = await firstThatOpens(device, below.device, keys, opening);
  if (index === undefined && !readOnly && (await takeNewerHeader(context, volume, work)))
    index = await firstThatOpens(device, below.device, keys, opening);
  if (index === undefined) throw wrongKey(identity?.name ?? volume.volumeId);
  // The key was changed in the Secret: the header follows.
  if (index > 0 && !readOnly) await changeKeyOn(context, volume, device, below.device, keys);
  else await keepMissingHeader(context, volume, device, below.device);
  const mapping = await device.mapping(below.device);
  if (mapping) return describe(below, mapping, layerOf(identity), identity);
  throw new AzekuraError('HostFailure', `volume ${volume.volumeId} was opened and has no mapping`, {
    next: 'look at the kernel log (dmesg) and at `dmsetup info`',
  });
}

async function firstThatOpens(
  device: LuksDevice,
  path: string,
  keys: readonly LuksKey[],
  options: { readonly readOnly: boolean; readonly discards: boolean },
): Promise<number | undefined> {
  for (const [index, key] of keys.entries()) if (await device.tryOpen(path, key, options)) return index;
  return undefined;
}

/** Writes down how far a volume has come, durably. */
async function note(
  { inner }: EncryptedContext,
  volume: VolumeRef,
  identity: VolumeIdentity,
  state: EncryptionLayer['state'],
): Promise<VolumeIdentity> {
  const encryption = { ...(identity.encryption ?? { kind: 'luks2' as const }), layer: { ...layerOf(identity), state } };
  const noted = { ...identity, encryption };
  await inner.volumes.setIdentity(volume, noted);
  return noted;
}

async function markFormatted(context: EncryptedContext, volume: VolumeRef): Promise<void> {
  const { identity } = await context.inner.volumes.observe(volume);
  if (identity && layerOf(identity).state !== 'ready') await note(context, volume, identity, 'ready');
  await context.inner.volumes.markFormatted?.(volume);
}

async function detach(context: EncryptedContext, volume: VolumeRef): Promise<void> {
  const { attached, identity } = await context.inner.volumes.observe(volume);
  const device = deviceOf(context, volume, identity);
  const mapping = attached && (await device.mapping(attached.device));
  if (mapping) await device.close(mapping);
  await context.inner.volumes.detach(volume);
}

async function expand(context: EncryptedContext, volume: VolumeRef, sizeBytes: number): Promise<void> {
  const { identity } = await context.inner.volumes.observe(volume);
  await context.inner.volumes.expand(volume, sizeBytes + layerOf(identity).headerBytes);
  const { attached } = await context.inner.volumes.observe(volume);
  const device = deviceOf(context, volume, identity);
  if (attached && (await device.mapping(attached.device))) await device.grow();
}

async function changeKey(context: EncryptedContext, volume: VolumeRef): Promise<string> {
  const { inner } = context;
  const seen = await inner.volumes.observe(volume);
  if (layerOf(seen.identity).state === 'blank') return 'it has never been attached: it will have the present key';
  const keys = await context.keysOf(volume);
  const device = deviceOf(context, volume, seen.identity);
  const below = seen.attached ?? (await inner.volumes.attach(volume, { readOnly: false }));
  if (below.readOnly)
    throw new AzekuraError(
      'FailedPrecondition',
      `volume ${seen.identity?.name ?? volume.volumeId} is attached read-only`,
      {
        next: 'detach it, or attach it for writing; its keys are on it',
      },
    );
  try {
    return await changeKeyOn(context, volume, device, below.device, keys);
  } finally {
    if (!seen.attached) await inner.volumes.detach(volume);
  }
}

/**
 * The first of the keys opens the header afterwards, the others do not; keys that nobody named stay. Looks at every step, so
 * that it can be repeated after a crash at any point; the new key is seen to open before an old one goes.
 */
async function changeKeyOn(
  context: EncryptedContext,
  volume: VolumeRef,
  device: LuksDevice,
  path: string,
  [present, ...before]: readonly [LuksKey, ...LuksKey[]],
): Promise<string> {
  const known = await device.slotOf(path, present);
  // The same key may have two names: the slot that the present key opens stays.
  const old: { readonly key: LuksKey; readonly slot: number }[] = [];
  for (const key of before) {
    const slot = await device.slotOf(path, key);
    if (slot !== undefined && slot !== known) old.push({ key, slot });
  }
  if (known === undefined) {
    if (!old[0]) throw wrongKey(device.label);
    await device.addKey(path, old[0].key, present);
  }
  const kept = known ?? (await device.slotOf(path, present));
  for (const { key, slot } of old) {
    if (kept === undefined || slot === kept) throw wrongKey(device.label);
    await device.removeKey(path, key);
  }
  await keepHeader(context, volume, device, path);
  if (known !== undefined && old.length === 0) return 'its key was the present one already';
  return 'the present key opens it; the one before does not any more';
}
