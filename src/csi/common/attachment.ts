import { causeCatalogue } from '../../model/causes.ts';
import type { Attachment } from '../../model/kinds.ts';
import type { Call } from '../grpc/call.ts';
import type { CsiContext } from './context.ts';
import { finalFailure, stateSentence } from './failure.ts';

/**
 * Waits until the agent has looked at the attachment as it is wanted now, and what was asked for is there. The agent
 * looks at what really is mounted, so the answer holds also after a crash, a reboot or a foreign unmount.
 *
 * @param attachment as it was written
 * @throws AzekuraError FailedPrecondition, ResourceExhausted by the agent's cause; DeadlineExceeded
 */
export async function attachmentSettled(
  context: CsiContext,
  attachment: Attachment,
  call: Call,
  done: (attachment: Attachment) => boolean,
): Promise<Attachment> {
  const { name } = attachment.metadata;
  return context.attachments.until(name, call, {
    since: attachment,
    look: (object) => {
      if (!object || object.status.observedGeneration < attachment.metadata.generation) return undefined;
      // After a failure the status still tells what was there before it: only without a blocking cause is it the present.
      const blocked = object.status.causes.some(({ code }) => causeCatalogue[code].severity === 'blocking');
      if (!blocked && object.status.phase === 'Attached' && done(object)) return object;
      const failure = finalFailure(object.status.causes);
      if (failure) throw failure;
      return undefined;
    },
    describe: (object) =>
      stateSentence(`volume ${attachment.spec.volumeName} on node ${attachment.spec.nodeName}`, object),
  });
}

/** Waits until the attachment is gone. @throws AzekuraError FailedPrecondition while something holds it; DeadlineExceeded */
export async function attachmentGone(context: CsiContext, attachment: Attachment, call: Call): Promise<void> {
  const { name } = attachment.metadata;
  if ((await context.deps.store.find('Attachment', name))?.metadata.uid !== attachment.metadata.uid) return;
  await context.attachments.until(name, call, {
    since: attachment,
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
