import type { ByteRange } from '../../host/kernel.ts';
import { dmMessage, mappedUuid, thinDelta, thinDump, thinUsage } from '../../host/lvm/argv.ts';
import { lvmEnv } from '../../host/lvm/run.ts';
import { parseThinDelta, parseThinDump, parseThinUsage } from '../../host/lvm/thin-tools.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { PoolRef } from '../contract.ts';
import { type LvmContext, mappedNodes } from './context.ts';
import type { Entry } from './entries.ts';
import type { FoundGroup } from './find.ts';
import { thinPoolStatus } from './repair.ts';

const toolDeadlineMs = 10 * 60_000;

/**
 * Runs a tool on a copy of the thin pool's metadata that the kernel holds still meanwhile (reserve_metadata_snap). There
 * is one such copy for each pool, so one reader at a time; one that a crash has left is known by our note of it.
 *
 * @param argv the tool's arguments, given the device of the metadata
 * @returns what it printed
 */
async function readMetadata(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  argv: (metadata: string) => readonly [string, ...string[]],
): Promise<string> {
  const { deps } = context;
  return deps.locks.run(`lvm/metadata/${found.group.name}`, async () => {
    const thin = found.entries.thinPool;
    const status = thin && (await thinPoolStatus(context, pool, found, thin));
    if (!thin || status?.state !== 'ok')
      throw new AzekuraError('Unavailable', `the thin pool of pool ${pool.name} is not active`, {
        next: '`azekura why` tells what keeps it',
      });
    const part = found.group.volumes.find(({ name }) => name === thin.lv.segments[0]?.metadata);
    const metadata = (await mappedNodes(deps, found)).get(mappedUuid(found.group.id, part?.id ?? '', 'tmeta'))?.path;
    if (metadata === undefined)
      throw new AzekuraError('HostFailure', `the metadata of pool ${pool.name} has no device`);
    const kernel = deps.host.kernel('engine-lvm');
    const note = `${deps.runtimeDir}/metadata-copy-${found.group.name}`;
    const options = { domain: `pool/${pool.name}`, env: lvmEnv } as const;
    const release = () => deps.host.exec(dmMessage(status.mapped, 'release_metadata_snap'), options);
    if (status.held) {
      if ((await kernel.readTextFile(note)) === undefined)
        throw new AzekuraError(
          'Unavailable',
          `another program reads the metadata of the thin pool of pool ${pool.name}`,
          {
            next: `let it finish, or end its copy with \`dmsetup message ${status.mapped} 0 release_metadata_snap\``,
          },
        );
      await release();
    }
    await kernel.makeDirectory(deps.runtimeDir, 0o700);
    await kernel.writeTextFile(note, 'held\n');
    await deps.host.exec(dmMessage(status.mapped, 'reserve_metadata_snap'), options);
    try {
      return (await deps.host.exec(argv(metadata), { ...options, deadlineMs: toolDeadlineMs })).stdout;
    } finally {
      await release();
      await kernel.removeTree(note);
    }
  });
}

/** Exclusive and shared bytes: of a thick volume all of it. */
export async function usageOf(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  { lv }: Entry,
): Promise<{ readonly exclusiveBytes: number; readonly sharedBytes: number }> {
  const [segment] = lv.segments;
  if (segment?.type !== 'thin') return { exclusiveBytes: lv.sizeBytes, sharedBytes: 0 };
  const used = parseThinUsage(await readMetadata(context, pool, found, thinUsage));
  return used.get(segment.deviceId ?? -1) ?? { exclusiveBytes: 0, sharedBytes: 0 };
}

/** Ranges that differ between two thin volumes, in whole chunks. */
export async function changedRanges(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  base: Entry,
  target: Entry,
): Promise<readonly ByteRange[]> {
  const [from, to] = [numberOf(base), numberOf(target)];
  if (from === to) return [];
  return parseThinDelta(await readMetadata(context, pool, found, (metadata) => thinDelta(metadata, from, to)));
}

/** Ranges of a thin volume that are mapped, in whole chunks. */
export async function mappedRanges(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  entry: Entry,
): Promise<readonly ByteRange[]> {
  const number = numberOf(entry);
  return parseThinDump(await readMetadata(context, pool, found, (metadata) => thinDump(metadata, number)));
}

function numberOf({ lv }: Entry): number {
  const number = lv.segments[0]?.deviceId;
  if (number !== undefined) return number;
  throw new AzekuraError('Unimplemented', `${lv.name} is a thick volume, of which nobody keeps track of changes`, {
    next: 'use thin volumes where changed blocks are wanted',
  });
}
