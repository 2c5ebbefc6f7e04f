import type { Host } from '../host/host.ts';
import type { Kernel } from '../host/kernel.ts';
import { shortId } from '../lib/id.ts';
import type { Logger } from '../lib/log.ts';
import { closeDecrypted } from './decrypt.ts';
import { closeGroupData } from './group-data.ts';
import { defaultScratchDir, type Holdings, HoldingsFile, type Session, shownDevice } from './holdings.ts';

interface SessionDeps {
  readonly host: Host;
  readonly log: Logger;
  readonly scratchDir?: string | undefined;
}

/** Begins to hold things. Nothing is written until the first note(). */
export function beginSession(deps: SessionDeps): Session {
  return makeSession(deps, shortId(), { formatVersion: 1, pid: process.pid });
}

function makeSession(deps: SessionDeps, id: string, start: HoldingsFile, onDisk = false): Session {
  const kernel = rescueKernel(deps.host);
  const scratchDir = deps.scratchDir ?? defaultScratchDir;
  const file = `${scratchDir}/${id}.json`;
  let held = start;
  let written = onDisk;
  return {
    id,
    holdings: () => held,
    async note(more) {
      held = { ...held, ...more };
      if (!written) await kernel.makeDirectory(scratchDir, 0o700);
      written = true;
      await kernel.writeTextFile(file, `${JSON.stringify(held, null, 2)}\n`, 0o600);
    },
    async release() {
      await giveBack(deps.host, kernel, held);
      if (written) await kernel.removeTree(file);
      written = false;
    },
  };
}

/** The order matters: each layer is held by the one above it. */
async function giveBack(host: Host, kernel: Kernel, held: Holdings): Promise<void> {
  const { target, volumeLoop, mapping, copyDir, group, poolMount, poolLoop } = held;
  if (target !== undefined && volumeLoop !== undefined) {
    const mounts = await host.mounts();
    if (mounts.some((mount) => mount.target === target && mount.source === shownDevice(held)))
      await kernel.unmount(target);
  }
  if (mapping !== undefined) await closeDecrypted(host, mapping);
  if (volumeLoop) await kernel.detachLoop(volumeLoop.device, volumeLoop.file);
  if (copyDir !== undefined) await kernel.removeTree(copyDir);
  if (group) await closeGroupData(host, group);
  if (poolMount !== undefined) {
    await kernel.unmount(poolMount);
    await kernel.removeMountPoint(poolMount);
  }
  if (poolLoop) await kernel.detachLoop(poolLoop.device, poolLoop.file);
}

/** All sessions that are written down; files that cannot be read are left alone. */
export async function listSessions(deps: SessionDeps): Promise<readonly Session[]> {
  const kernel = rescueKernel(deps.host);
  const scratchDir = deps.scratchDir ?? defaultScratchDir;
  const sessions: Session[] = [];
  for (const name of (await kernel.listDirectory(scratchDir)) ?? []) {
    if (!name.endsWith('.json')) continue;
    const text = await kernel.readTextFile(`${scratchDir}/${name}`);
    const parsed = HoldingsFile.safeParse(parseJson(text ?? ''));
    if (parsed.success) sessions.push(makeSession(deps, name.slice(0, -'.json'.length), parsed.data, true));
  }
  return sessions;
}

/**
 * Gives back what rescue commands left that are dead by now, except mounts that still stand. Best effort: what cannot
 * be given back is logged and tried again by the next command.
 */
export async function releaseLeftovers(deps: SessionDeps): Promise<void> {
  const mounts = await deps.host.mounts();
  for (const session of await listSessions(deps)) {
    const held = session.holdings() as HoldingsFile;
    if (isAlive(held.pid)) continue;
    if (mounts.some((mount) => mount.target === held.target && mount.source === shownDevice(held))) continue;
    try {
      await session.release();
    } catch (error) {
      deps.log.warn({ err: error, session: session.id }, 'what an earlier rescue left behind cannot be given back yet');
    }
  }
}

/** Gives back what a failed command holds. A second failure is logged: the first one is what the user must read. */
export async function releaseAfterFailure(session: Session, log: Logger): Promise<void> {
  try {
    await session.release();
  } catch (error) {
    log.warn(
      { err: error, session: session.id },
      'not everything could be given back; the next rescue command tries again',
    );
  }
}

/** Rescue's own files and mounts are one domain: a hung place has its own, see openPlace(). */
export function rescueKernel(host: Host): Kernel {
  return host.kernel('rescue-scratch');
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
