import { lvdeactivate } from '../../host/lvm/argv.ts';
import type { PoolRef } from '../contract.ts';
import { activateVolume } from './attach.ts';
import { type LvmContext, mappedNode } from './context.ts';
import type { Entry } from './entries.ts';
import type { FoundGroup } from './find.ts';

/** Bytes that are zeroed or copied by one command: progress is told, and a deadline fits, after each. */
const pieceBytes = 256 * 2 ** 20;
/** Even a slow disk writes a piece in this time. */
const pieceDeadlineMs = 10 * 60_000;

/**
 * Zeroes a device from an offset to its end, by the kernel's own means (BLKZEROOUT), which a disk may do without
 * writing.
 */
export async function zeroDevice(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  entry: Entry,
  fromBytes: number,
): Promise<void> {
  const { deps } = context;
  const device = await activated(context, pool, found, entry);
  await deps.steps.run('lvm.zero', async () => {
    for (let at = fromBytes; at < entry.lv.sizeBytes; at += pieceBytes) {
      const length = Math.min(pieceBytes, entry.lv.sizeBytes - at);
      const argv = ['blkdiscard', '--zeroout', '--offset', String(at), '--length', String(length), device] as const;
      await deps.host.exec(argv, { deadlineMs: pieceDeadlineMs, domain: `pool/${pool.name}/${entry.lv.name}` });
      deps.steps.progress(at + length - fromBytes, entry.lv.sizeBytes - fromBytes);
    }
  });
}

/** Copies all bytes of one volume over the beginning of another. Zeroes are not written: the target begins with them. */
export async function copyInto(
  context: LvmContext,
  pool: PoolRef,
  found: FoundGroup,
  from: Entry,
  to: Entry,
): Promise<void> {
  const { deps } = context;
  const before = await mappedNode(deps, found, from.lv.id);
  const source = await activated(context, pool, found, from);
  const target = await activated(context, pool, found, to);
  await deps.steps.run('lvm.copy', async () => {
    for (let at = 0; at < from.lv.sizeBytes; at += pieceBytes) {
      const length = Math.min(pieceBytes, from.lv.sizeBytes - at);
      const argv = [
        'dd',
        `if=${source}`,
        `of=${target}`,
        'bs=1M',
        `skip=${at / 2 ** 20}`,
        `seek=${at / 2 ** 20}`,
        `count=${Math.ceil(length / 2 ** 20)}`,
        'conv=notrunc,sparse,fsync',
        'status=none',
      ] as const;
      await deps.host.exec(argv, { deadlineMs: pieceDeadlineMs, domain: `pool/${pool.name}/${to.lv.name}` });
      deps.steps.progress(at + length, from.lv.sizeBytes);
    }
  });
  if (!before) await context.run('copy.deactivate', pool, found, lvdeactivate(found.group.name, [from.lv.name]));
}

async function activated(context: LvmContext, pool: PoolRef, found: FoundGroup, entry: Entry): Promise<string> {
  const present = await mappedNode(context.deps, found, entry.lv.id);
  return (present ?? (await activateVolume(context, pool, found, entry, { readOnly: false }))).path;
}
