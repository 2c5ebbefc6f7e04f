import type { FoundGroup } from '../engines/lvm/find.ts';
import type { Host } from '../host/host.ts';
import {
  dmOverlay,
  dmRemove,
  dmStatus,
  type LvmArgv,
  lvactivate,
  lvdeactivate,
  mappedName,
  vgdeactivate,
  vgimportclone,
} from '../host/lvm/argv.ts';
import { lvmEnv, lvmFailed, runLvm } from '../host/lvm/run.ts';
import { systemClock } from '../lib/clock.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import { defaultScratchDir, type GroupHoldings, type Session } from './holdings.ts';
import type { RescueDeps } from './report.ts';

/** Where changes of a copy go: sparse, in memory mostly. A replayed journal needs some of it. */
const changesBytes = 2 * 2 ** 30;
/** Below the prefix that LVM leaves out by itself: neither the host nor an agent takes the copy for a disk. */
const overlayUuid = (session: string, index: number) => `LVM-azekura-rescue-${session}-${index}`;

export interface GroupData {
  /** Device with the volume's bytes. */
  readonly path: string;
  /** Bytes of it that can be other than zero; undefined when it cannot be told. */
  readonly dataBytes?: number;
}

/**
 * Makes a logical volume readable. A group that is active on this machine is used as it is. One that is not is brought up
 * on copies of its disks, under another name: what LVM, the thin pool and file systems write when they start goes to
 * those, and the disks are never opened for writing.
 *
 * @throws AzekuraError HostFailure when LVM cannot activate it
 */
export async function openGroupData(
  { group, live }: { readonly group: FoundGroup; readonly live: boolean },
  name: string,
  session: Session,
  deps: RescueDeps,
): Promise<GroupData> {
  const held = live ? await liveGroup(group, name, session) : await copiedGroup(group, session, deps);
  await lvm(deps.host, held, lvactivate(held.name, [name]));
  const mapped = mappedName(held.name, name);
  const { stdout } = await deps.host.exec(dmStatus(mapped), { env: lvmEnv });
  const sectors = / thin (\d+) /.exec(stdout)?.[1];
  return { path: `/dev/mapper/${mapped}`, ...(sectors === undefined ? {} : { dataBytes: Number(sectors) * 512 }) };
}

async function liveGroup(found: FoundGroup, name: string, session: Session): Promise<GroupHoldings> {
  const devices = [...found.devices.values()].map(({ path }) => path);
  const held: GroupHoldings = { name: found.group.name, devices, overlays: [], volume: name };
  await session.note({ group: held });
  return held;
}

async function copiedGroup(found: FoundGroup, session: Session, deps: RescueDeps): Promise<GroupHoldings> {
  const { host } = deps;
  const kernel = host.kernel('rescue-scratch');
  const scratch = deps.scratchDir ?? defaultScratchDir;
  let held: GroupHoldings = { name: `azk-rescue-${session.id}`, devices: [], overlays: [] };
  const present = new Set(found.group.physical.map(({ id }) => id));
  const disks = [...found.devices].filter(([id]) => present.has(id)).map(([, node]) => node);
  for (const [index, disk] of disks.entries()) {
    const file = `${scratch}/${session.id}-changes-${index}`;
    // LVM takes what follows a second dash in a name for a part of something, and leaves it out.
    const name = `azk-rescue_${session.id}_${index}`;
    held = { ...held, overlays: [...held.overlays, { name, file }] };
    await session.note({ group: held });
    await kernel.createSparse(file, changesBytes);
    const { device } = await kernel.attachLoop(file, { directIo: false });
    const argv = dmOverlay(name, overlayUuid(session.id, index), disk.sizeBytes, {
      origin: disk.path,
      changes: device,
    });
    await host.exec(argv, { env: lvmEnv, domain: `rescue${disk.path}` });
    held = { ...held, devices: [...held.devices, `/dev/mapper/${name}`] };
    await session.note({ group: held });
  }
  await lvm(host, held, vgimportclone(held.name, held.devices));
  return held;
}

/** Gives back what openGroupData() has taken; what is not there any more is no error. */
export async function closeGroupData(host: Host, held: GroupHoldings): Promise<void> {
  const { name, volume, overlays } = held;
  if (volume !== undefined) return deactivate(host, held, lvdeactivate(name, [volume]));
  if (held.devices.length > 0) await deactivate(host, held, vgdeactivate(name));
  const kernel = host.kernel('rescue-scratch');
  const mapped = new Set(
    (await host.blockNodes({ mappedOnly: true })).map((node) => node.mapped?.name).filter((one) => one !== undefined),
  );
  for (const overlay of overlays) {
    if (mapped.has(overlay.name)) await host.exec(dmRemove(overlay.name), { env: lvmEnv });
    const loop = (await host.loops()).find(({ backingFile }) => backingFile === overlay.file);
    if (loop) await kernel.detachLoop(loop.device, overlay.file);
    await kernel.removeTree(overlay.file);
  }
}

async function deactivate(host: Host, held: GroupHoldings, argv: LvmArgv): Promise<void> {
  try {
    await lvm(host, held, argv);
  } catch (error) {
    if (!lvmFailed(error, 'not-found')) throw error;
  }
}

async function lvm(host: Host, held: GroupHoldings, argv: LvmArgv): Promise<void> {
  const deps = { host, clock: systemClock, locks: new KeyedLock() };
  const onVolumes = held.overlays.length > 0;
  await runLvm(deps, argv, { group: held.name, devices: held.devices, domain: `rescue/${held.name}`, onVolumes });
}
