import type { Attachment, Replica } from '../../model/kinds.ts';
import { requestIdOf } from '../../model/names.ts';
import type { AgentContext } from '../context.ts';

/**
 * After a move of a raw block volume that is in use read-only: puts the new copy below the device of the old one, so
 * that whoever reads it goes on. Does nothing in all other cases.
 *
 * @param replica the copy that is to be used
 * @returns whether it did
 */
export async function takeOverDevice(
  context: AgentContext,
  attachment: Attachment,
  replica: Replica | undefined,
): Promise<boolean> {
  const { readOnly, access } = attachment.spec;
  if (!replica || !readOnly || access !== 'block' || replica.spec.source?.kind !== 'move') return false;
  const { volumeId, policy } = replica.spec;
  const { volumes } = context.engineOf(replica);
  if (!volumes.takeOver) return false;
  for (const old of context.state.replicasOf(volumeId)) {
    if (old.metadata.uid === replica.metadata.uid || old.spec.policy.engine !== policy.engine) continue;
    const from = context.volumeRef(old);
    const { attached } = await volumes.observe(from);
    if (!attached?.readOnly) continue;
    const { spec, metadata } = replica;
    const request = {
      verb: 'SwapDevice',
      subject: { kind: 'Volume', name: spec.volumeName, uid: spec.volumeUid },
      objectUid: metadata.uid,
      round: `swap/${old.metadata.name}`,
      ...requestIdOf(replica),
    };
    await context.tasks.run(request, async ({ steps }) => {
      await context.engineOf(replica, steps).volumes.takeOver?.(from, context.volumeRef(replica));
    });
    return true;
  }
  return false;
}
