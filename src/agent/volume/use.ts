import type { Attachment, Replica } from '../../model/kinds.ts';
import { type AgentContext, keys } from '../context.ts';
import type { Converged, DirectUse } from '../deps.ts';
import { gone, wantedOf } from '../triggers.ts';
import { reconcileAttachment } from './attachment.ts';
import { usedReplica } from './reconcile.ts';
import { holdsAttachment } from './replica-plan.ts';

/** So many at the same time; what is more takes its turn in the queue. */
const most = 32;

/**
 * Begins the direct use of a volume: what the watch tells of its attachments until the end is taken for the caller's own
 * doing, and looked at afterwards only when it was not.
 */
export function beginUse(context: AgentContext, volumeId: string): DirectUse {
  const expected = context.expected.get(volumeId) ?? { count: 0, missed: new Map<string, string>() };
  context.expected.set(volumeId, expected);
  expected.count += 1;
  let holders = 1;
  const release = () => {
    holders -= 1;
    if (holders > 0) return;
    expected.count -= 1;
    if (expected.count > 0) return;
    context.expected.delete(volumeId);
    for (const [uid, wanted] of expected.missed) {
      const done = context.seenTo.get(uid);
      if (done !== gone && done !== wanted) context.trigger(keys.volume(volumeId));
      if (wanted === gone) context.seenTo.delete(uid);
    }
  };
  return {
    async converge(written) {
      holders += 1;
      try {
        const after = await useAtOnce(context, written);
        // The caller waits for the long way before it ends this, and until then the watch's news are kept back.
        if (!after) context.trigger(keys.volume(volumeId));
        return after;
      } finally {
        release();
      }
    },
    end: release,
  };
}

/**
 * The same look, plan and steps as in reconcileVolume(), less what has nothing to do with an attachment: the way over
 * the watch and the queue, and the volume's copies and snapshots. So only while nothing is due on them: a pass of this
 * process has found the only copy as it is wanted now, and where its device is can be seen at a glance. Everything else,
 * and what fails, goes the other way.
 */
async function useAtOnce(context: AgentContext, written: Attachment): Promise<Converged | undefined> {
  const { volumeId, nodeName } = written.spec;
  if (nodeName !== context.deps.nodeName || !context.isServed(volumeId) || context.inUse.size >= most) return undefined;
  const work = context.volumeLocks.run(volumeId, () => converge(context, written));
  const ended = work.then(
    () => {},
    () => {},
  );
  context.inUse.add(ended);
  try {
    return await work;
  } catch {
    // The attachment says why. The queue tries again.
    context.seenTo.delete(written.metadata.uid);
    return undefined;
  } finally {
    context.inUse.delete(ended);
  }
}

async function converge(context: AgentContext, written: Attachment): Promise<Converged | undefined> {
  const { volumeId } = written.spec;
  const attachment = await context.attachmentNow(volumeId);
  // Somebody else has been faster.
  if (attachment?.metadata.uid !== written.metadata.uid) return { attachment: undefined };
  const replica = await onlySettled(context, volumeId);
  const glance = replica && context.engineOf(replica).volumes.glance?.(context.volumeRef(replica));
  if (!glance) return undefined;
  const after = await reconcileAttachment(context, attachment, replica, { glance });
  context.seenTo.set(attachment.metadata.uid, attachment.metadata.deletionTimestamp ? gone : wantedOf(attachment));
  return { attachment: after };
}

/** The volume's copy, when it is the only one and nothing is due on it. */
async function onlySettled(context: AgentContext, volumeId: string): Promise<Replica | undefined> {
  if (context.state.replicasOf(volumeId).length !== 1) return undefined;
  const replica = await usedReplica(context, volumeId);
  if (!replica || replica.metadata.deletionTimestamp || holdsAttachment(replica)) return undefined;
  return context.settled.get(replica.metadata.uid) === replica.metadata.generation ? replica : undefined;
}
