import { type Room, roomOf } from '../../placement/index.ts';
import type { AgentContext } from '../context.ts';

/** What may still be given away of a pool of this node; undefined when it is not known. */
export function poolRoom(context: AgentContext, poolName: string): Room | undefined {
  const pool = context.state.pools.get(poolName);
  return pool && roomOf(pool, context.state.ledger.sums(poolName));
}

/** Whether the pool is into its reserve. An unknown pool counts as short: nothing is risked on it. */
export function poolIsShort(context: AgentContext, poolName: string): boolean {
  return poolRoom(context, poolName)?.short ?? true;
}
