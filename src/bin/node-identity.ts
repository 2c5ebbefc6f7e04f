import { AzekuraError } from '../model/errors.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import { attachmentName, finalizers } from '../model/names.ts';
import { change } from '../store/change.ts';
import type { LocalStore } from '../store/store.ts';

const ofNode = ['Pool', 'Replica', 'Snapshot', 'Attachment'] as const;

/**
 * Gives what a data folder holds to the Kubernetes node: a machine that ran `azekura up` has a Node under a name of its
 * own choice. Nothing but the objects changes; pools and volumes stay where they are. To be called before the agent
 * starts; repeated after a crash it goes on.
 *
 * @throws AzekuraError FailedPrecondition when the folder belongs to another node of a cluster
 */
export async function takeOver(store: LocalStore, nodeName: string): Promise<void> {
  for (const kind of ofNode)
    for (const object of (await store.list(kind)).items) {
      const { nodeName: before } = object.spec;
      if (before === undefined || before === nodeName) continue;
      if (object.metadata.finalizers.includes(finalizers.mirror)) throw belongsTo(before, nodeName);
      if (kind === 'Attachment') await renameAttachment(store, object as Resource<'Attachment'>, nodeName);
      else await moveToNode(store, kind, object.metadata.name, nodeName);
    }
  for (const node of (await store.list('Node')).items) {
    if (node.metadata.name === nodeName) continue;
    if (node.metadata.finalizers.includes(finalizers.mirror)) throw belongsTo(node.metadata.name, nodeName);
    await store.delete('Node', node.metadata.name);
  }
}

async function moveToNode(store: LocalStore, kind: Kind, name: string, nodeName: string): Promise<void> {
  await change(store, kind, name, ({ spec }) => ({ spec: { ...spec, nodeName } as typeof spec }));
}

/** The name of an attachment contains the node's. The new one is there before the old one goes: it is never missed. */
async function renameAttachment(store: LocalStore, old: Resource<'Attachment'>, nodeName: string): Promise<void> {
  const name = attachmentName(old.spec.volumeId, nodeName);
  if (name === old.metadata.name) return moveToNode(store, 'Attachment', name, nodeName);
  if (!(await store.find('Attachment', name)))
    await store.put({ ...old, metadata: { ...old.metadata, name }, spec: { ...old.spec, nodeName } }, undefined);
  await change(store, 'Attachment', old.metadata.name, () => ({ metadata: { finalizers: [] } }));
  await store.delete('Attachment', old.metadata.name);
}

function belongsTo(owner: string, nodeName: string): AzekuraError {
  return new AzekuraError(
    'FailedPrecondition',
    `the data folder belongs to node ${owner} of a cluster, not to ${nodeName}`,
    {
      next: `start the agent as ${owner}, or name another folder with --data-dir`,
    },
  );
}
