import type { Store } from '../../store/store.ts';
import type { View } from '../view.ts';

/** Agents report every minute: after three reports that did not come, nobody is there to do what is asked. */
export const silentAfterMs = 180_000;

/** `live`: its agent answers or has reported lately. `silent`: it has not. `gone`: the cluster does not know the node. */
export type NodePresence = 'live' | 'silent' | 'gone';

/** Whether somebody on the node can still do what is asked. @param own the agent of that node runs in this process */
export async function nodePresence(
  { store, view }: { readonly store: Store; readonly view: Pick<View, 'silentMs'> },
  nodeName: string,
  own: boolean,
): Promise<NodePresence> {
  if (own) return 'live';
  const node = await store.find('Node', nodeName);
  if (!node) return 'gone';
  const { heartbeat, phase } = node.status;
  if (heartbeat === undefined) return phase === 'Ready' ? 'live' : 'silent';
  return view.silentMs(nodeName) > silentAfterMs ? 'silent' : 'live';
}
