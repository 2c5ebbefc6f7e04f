import { temporaryFolder } from '../engines/file/layout.ts';
import type { Kernel } from '../host/kernel.ts';
import { makeCause } from '../model/cause.ts';
import { AzekuraError, blamed } from '../model/errors.ts';
import { choose } from './choose.ts';
import { decrypt, headerOf } from './decrypt.ts';
import { openGroupData } from './group-data.ts';
import { type Session, shownDevice } from './holdings.ts';
import type { MountOptions, MountResult, RescuedVolume, UnmountOptions } from './report.ts';
import { scan } from './scan.ts';
import { listSessions } from './session.ts';
import type { PoolView } from './view.ts';
import { type Opened, withChosen } from './with-chosen.ts';

/**
 * Shows the file system of a volume or snapshot read-only at a folder. Repeating it with the same target and choice is
 * no error. It stays until unmount() or a reboot.
 *
 * @throws AzekuraError FailedPrecondition when the target is not free, the volume is raw or in use; NotFound
 */
export async function mountVolume(options: MountOptions): Promise<MountResult> {
  const { host, target } = options;
  if (!target.startsWith('/')) throw new AzekuraError('InvalidArgument', `"${target}" is not an absolute path`);
  const kernel = host.kernel(`rescue${target}`);
  const present = await findPresent(options);
  if (present) return present;
  await refuseBusyTarget(options, kernel);
  return withChosen({ ...options, keep: true }, async ({ view, chosen, session, warnings }) => {
    const { volume, snapshot } = chosen;
    const original = view.group
      ? (await openGroupData({ ...view, group: view.group }, chosen.file, session, options)).path
      : `${view.root}/${chosen.file}`;
    const headerBytes = headerOf(chosen);
    if (headerBytes !== undefined)
      return mountEncrypted(options, kernel, { view, chosen, session, warnings }, { original, headerBytes });
    const probe = await view.kernel.probeFilesystem(original);
    const filesystem = mountable(probe, volume);
    const replay = options.replay === true && !probe?.clean;
    if (!probe?.clean && !replay) warnings.push(uncleanWarning);
    const file = replay ? await copyForReplay(view, original, session) : original;
    const { device } = await view.kernel.attachLoop(file, { readOnly: !replay, directIo: false });
    const ids = { volumeId: volume.volumeId, ...(snapshot ? { snapshotId: snapshot.snapshotId } : {}) };
    await session.note({ volumeLoop: { device, file }, target, filesystem, ...ids });
    await kernel.makeMountPoint(target, 'directory');
    await kernel.mount({ source: device, target, filesystem, options: mountOptions(filesystem, replay) });
    return { target, device, filesystem, volume, ...(snapshot ? { snapshot } : {}), warnings };
  });
}

/** What is stored cannot be looked at before it is open: with a replay a copy is opened in any case. */
async function mountEncrypted(
  options: MountOptions,
  kernel: Kernel,
  { view, chosen, session, warnings }: Opened,
  { original, headerBytes }: { readonly original: string; readonly headerBytes: number },
): Promise<MountResult> {
  const { volume, snapshot } = chosen;
  const { target } = options;
  const replay = options.replay === true;
  const path = replay ? await copyForReplay(view, original, session) : original;
  const label = volume.identity?.name ?? volume.volumeId;
  const stored = { path, headerBytes, volume: label, readOnly: !replay };
  const { device } = await decrypt(options, view.kernel, session, stored);
  const probe = await view.kernel.probeFilesystem(device);
  const filesystem = mountable(probe, volume);
  if (!probe?.clean && !replay) warnings.push(uncleanWarning);
  const ids = { volumeId: volume.volumeId, ...(snapshot ? { snapshotId: snapshot.snapshotId } : {}) };
  await session.note({ target, filesystem, ...ids });
  await kernel.makeMountPoint(target, 'directory');
  await kernel.mount({ source: device, target, filesystem, options: mountOptions(filesystem, replay) });
  return { target, device, filesystem, volume, ...(snapshot ? { snapshot } : {}), warnings };
}

/** @throws AzekuraError FailedPrecondition for what is no file system of ours */
function mountable(probe: { readonly filesystem: string } | undefined, volume: RescuedVolume): 'xfs' | 'ext4' {
  if (probe?.filesystem === 'xfs' || probe?.filesystem === 'ext4') return probe.filesystem;
  const name = volume.identity?.name ?? volume.volumeId;
  throw new AzekuraError('FailedPrecondition', `volume "${name}" holds no ext4 or XFS file system`, {
    next: 'write its bytes to a file with `azekura rescue export`',
  });
}

const uncleanWarning =
  'the file system was not unmounted cleanly; it is shown without replaying its journal, so the newest changes may be ' +
  'missing or torn. Use --replay to see them (a pool of files must be writable for that), or export the volume and mount the export';

/** With a replay the kernel needs a writable device, and still writes nothing but the journal's contents. */
function mountOptions(filesystem: 'xfs' | 'ext4', replay: boolean): readonly string[] {
  if (filesystem === 'xfs') return replay ? ['ro', 'nouuid'] : ['ro', 'norecovery', 'nouuid'];
  return replay ? ['ro'] : ['ro', 'noload'];
}

/**
 * A reflink copy takes no space but for what the replay changes. It lies where the daemon sweeps leftovers away. What is
 * seen of a volume group is a copy already.
 */
async function copyForReplay(view: PoolView, original: string, session: Session): Promise<string> {
  if (view.group && !view.live) return original;
  if (view.group)
    throw new AzekuraError('FailedPrecondition', `volume group ${view.group.group.name} is in use on this machine`, {
      next: 'mount the volume with `azekura volume mount`, or take a snapshot and mount that',
    });
  const copyDir = `${view.root}/${temporaryFolder}/rescue-${session.id}`;
  await session.note({ copyDir });
  await view.kernel.makeDirectory(copyDir, 0o700);
  await view.kernel.clone(original, `${copyDir}/data`);
  return `${copyDir}/data`;
}

/** The same mount, when an earlier command made it. */
async function findPresent(options: MountOptions): Promise<MountResult | undefined> {
  const { host, target } = options;
  const mounts = await host.mounts();
  for (const session of await listSessions(options)) {
    const held = session.holdings();
    const device = shownDevice(held);
    if (held.target !== target || device === undefined || held.filesystem === undefined) continue;
    if (!mounts.some((mount) => mount.target === target && mount.source === device)) continue;
    const { volumes } = await scan({ ...options, paths: [options.path] });
    const { volume, snapshot } = choose(volumes, options);
    if (volume.volumeId !== held.volumeId || snapshot?.snapshotId !== held.snapshotId) continue;
    return { target, device, filesystem: held.filesystem, volume, ...(snapshot ? { snapshot } : {}), warnings: [] };
  }
  return undefined;
}

async function refuseBusyTarget({ host, target }: MountOptions, kernel: Kernel): Promise<void> {
  if ((await host.mounts()).some((mount) => mount.target === target)) throw busy(target, 'something is mounted there');
  const stat = await kernel.stat(target);
  if (stat && stat.kind !== 'directory') throw busy(target, 'it is not a folder');
  const names = stat ? await kernel.listDirectory(target) : [];
  if (names && names.length > 0) throw busy(target, 'the folder is not empty');
}

function busy(path: string, problem: string): AzekuraError {
  return blamed('FailedPrecondition', makeCause('MountPointBusy', { path, problem }));
}

/**
 * Undoes mountVolume(), with everything below it. Not an error when nothing is mounted there.
 *
 * @throws AzekuraError FailedPrecondition when the target is in use, or is a mount that rescue did not make
 */
export async function unmount({ host, log, scratchDir, target }: UnmountOptions): Promise<void> {
  const sessions = (await listSessions({ host, log, scratchDir })).filter(
    (session) => session.holdings().target === target,
  );
  for (const session of sessions) await session.release();
  if (sessions.length === 0 && (await host.mounts()).some((mount) => mount.target === target)) {
    throw new AzekuraError('FailedPrecondition', `${target} was not mounted by \`azekura rescue mount\``, {
      next: 'unmount it with the tool that mounted it, for example `azekura volume umount`',
    });
  }
}
