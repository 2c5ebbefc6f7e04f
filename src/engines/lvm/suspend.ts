import type { BlockNode } from '../../host/host.ts';
import { dmResume } from '../../host/lvm/argv.ts';
import { lvmEnv } from '../../host/lvm/run.ts';
import { AzekuraError } from '../../model/errors.ts';
import { type LvmContext, mappedNodes } from './context.ts';
import type { FoundGroup } from './find.ts';

/**
 * LVM takes a device that somebody has suspended for one that it has suspended itself: it writes the snapshot into the
 * group's metadata, never tells the kernel, and from then on the thin pool refuses everything, since their transactions
 * differ (seen with LVM 2.03.16).
 *
 * @throws AzekuraError FailedPrecondition
 */
export function refuseSuspended(node: BlockNode | undefined, what: string): void {
  if (!node?.mapped?.suspended) return;
  const { name } = node.mapped;
  throw new AzekuraError('FailedPrecondition', `the device of ${what} is suspended, and LVM cannot cut it like that`, {
    next: `let it go on with \`dmsetup resume ${name}\``,
  });
}

/** Lets go of whatever is held in the group: nobody holds anything when an agent starts. */
export async function resumeAll(context: LvmContext, found: FoundGroup): Promise<readonly string[]> {
  const { deps } = context;
  const resumed: string[] = [];
  for (const { mapped } of (await mappedNodes(deps, found)).values()) {
    if (!mapped?.suspended) continue;
    await deps.steps.run('lvm.sweep.resume', () =>
      deps.host.exec(dmResume(mapped.name), { domain: `thaw/${mapped.name}`, env: lvmEnv }),
    );
    resumed.push(`let writes to ${mapped.name} go on`);
  }
  return resumed;
}
