import { type CauseCode, causeCatalogue } from '../../model/causes.ts';
import type { Attachment, Volume } from '../../model/kinds.ts';
import type { DirectUse } from '../deps.ts';
import type { Call } from '../grpc/call.ts';
import { type CsiContext, volumeHandle } from './context.ts';
import { finalFailure, stateSentence } from './failure.ts';

/**
 * Waits until the agent has looked at the attachment as it is wanted now, and what was asked for is there. The agent
 * looks at what really is mounted, so the answer holds also after a crash, a reboot or a foreign unmount.
 *
 * @param attachment as it was written
 * @param use of the agent, when the attachment is one of this node
 * @param excused causes that do not matter to what was asked for
 * @throws AzekuraError FailedPrecondition, ResourceExhausted by the agent's cause; DeadlineExceeded
 */
export async function attachmentSettled(
  context: CsiContext,
  attachment: Attachment,
  call: Call,
  done: (attachment: Attachment) => boolean,
  use?: DirectUse,
  excused: readonly CauseCode[] = [],
): Promise<Attachment> {
  const { name } = attachment.metadata;
  return context.attachments.until(name, call, {
    since: attachment,
    ahead: converged(use, attachment),
    look: (object) => {
      if (!object || object.status.observedGeneration < attachment.metadata.generation) return undefined;
      const causes = object.status.causes.filter(({ code }) => !excused.includes(code));
      const isExcused = causes.length < object.status.causes.length;
      // After a failure the status still tells what was there before it: only without a blocking cause is it the present.
      const blocked = causes.some(({ code }) => causeCatalogue[code].severity === 'blocking');
      if (!blocked && (isExcused || object.status.phase === 'Attached') && done(object)) return object;
      const failure = finalFailure(causes);
      if (failure) throw failure;
      return undefined;
    },
    describe: (object) =>
      stateSentence(`volume ${attachment.spec.volumeName} on node ${attachment.spec.nodeName}`, object),
  });
}

/** Does work that writes an Attachment of this node's volume and waits for it, with the agent at hand. */
export async function withUse<T>(
  context: CsiContext,
  volume: Volume,
  work: (use: DirectUse | undefined) => Promise<T>,
): Promise<T> {
  const use = context.deps.beginUse?.(volumeHandle(volume));
  try {
    return await work(use);
  } finally {
    use?.end();
  }
}

/** How the agent leaves the attachment; undefined when only the watch will tell. */
async function converged(use: DirectUse | undefined, attachment: Attachment) {
  const after = await use?.converge(attachment);
  return after && { object: after.attachment };
}

/** Waits until the attachment is gone. @throws AzekuraError FailedPrecondition while something holds it; DeadlineExceeded */
export async function attachmentGone(
  context: CsiContext,
  attachment: Attachment,
  call: Call,
  use?: DirectUse,
): Promise<void> {
  const { name } = attachment.metadata;
  const stored = await context.deps.store.find('Attachment', name);
  if (stored?.metadata.uid !== attachment.metadata.uid) return;
  await context.attachments.until(name, call, {
    since: attachment,
    ahead: converged(use, stored),
    look: (object) => {
      if (!object) return true;
      const failure = object.metadata.deletionTimestamp ? finalFailure(object.status.causes) : undefined;
      if (failure) throw failure;
      return undefined;
    },
    describe: (object) =>
      stateSentence(`volume ${attachment.spec.volumeName} on node ${attachment.spec.nodeName}`, object),
  });
}
