import type { Pool } from '../../model/kinds.ts';
import { type AgentContext, keys } from '../context.ts';
import { scheduleUsage } from '../volume/usage.ts';

const glanceEveryMs = 30_000;
/** The whole observation, which finds what a glance cannot, such as another pool in this one's place. */
const observeEveryMs = 10 * 60_000;
const usageEveryMs = 5 * 60_000;
/** A change of free bytes that is worth writing down: a thousandth of the capacity. */
const noticeable = 0.001;
/** After a change of what is promised: a burst is counted once. */
const settleMs = 2_000;

/**
 * Looks after the pools of this node: a glance at the free bytes every 30 s, the whole observation when the glance shows
 * a change or can show none, and now and then without one. An idle pool is not written to the store.
 */
export class PoolWatch {
  readonly #context: AgentContext;
  readonly #observedAtMs = new Map<string, number>();
  readonly #usageAtMs = new Map<string, number>();
  readonly #glancing = new Set<string>();
  readonly #stops: (() => void)[] = [];
  #cancel: () => void = () => {};
  #stopped = false;

  constructor(context: AgentContext) {
    this.#context = context;
    this.#stops.push(
      context.state.replicas.onChange(({ object, type }) => {
        if (
          object.spec.nodeName === context.deps.nodeName &&
          (type !== 'modified' || this.#promisesChanged(object.spec.poolName))
        )
          context.trigger(keys.pool(object.spec.poolName), settleMs);
      }),
    );
    this.#tick();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
    for (const stop of this.#stops) stop();
  }

  #promisesChanged(poolName: string): boolean {
    const status = this.#context.state.pools.get(poolName)?.status;
    const sums = this.#context.state.ledger.sums(poolName);
    return (
      status !== undefined &&
      (status.promisedBytes !== sums.promisedBytes || status.reservedBytes !== sums.reservedBytes)
    );
  }

  #tick(): void {
    for (const pool of this.#context.state.ownPools()) void this.#glance(pool);
    this.#cancel = this.#context.deps.clock.after(glanceEveryMs, () => {
      if (!this.#stopped) this.#tick();
    });
  }

  /** One at a time for each pool: a pool that hangs is not asked again and again. */
  async #glance(pool: Pool): Promise<void> {
    const { name } = pool.metadata;
    const { path, phase, poolId } = pool.status;
    if (this.#glancing.has(name) || poolId === undefined || pool.metadata.deletionTimestamp) return;
    this.#glancing.add(name);
    try {
      const now = this.#context.deps.clock.nowMs();
      const due =
        now - (this.#observedAtMs.get(name) ?? 0) >= observeEveryMs || phase === 'Missing' || phase === 'Failed';
      const { poolIsFilesystem } = this.#context.deps.engines(pool.spec.engine).capabilities;
      const glance = !due && poolIsFilesystem && path !== undefined;
      const space = glance ? await this.#context.deps.host.glanceAtSpace(path) : undefined;
      if (space && !differs(pool, space.sizeBytes, space.freeBytes)) return;
      this.#observedAtMs.set(name, now);
      this.#context.trigger(keys.pool(name));
      this.#usageOfAttached(pool, now);
    } catch (err) {
      this.#context.deps.log.warn({ err, pool: name }, 'a glance at the pool failed');
      this.#context.trigger(keys.pool(name));
    } finally {
      this.#glancing.delete(name);
    }
  }

  /** What is written to changes its figures; what lies still does not. */
  #usageOfAttached(pool: Pool, now: number): void {
    const { name } = pool.metadata;
    if (now - (this.#usageAtMs.get(name) ?? 0) < usageEveryMs) return;
    this.#usageAtMs.set(name, now);
    for (const replica of this.#context.state.replicasOn(name))
      if (this.#context.state.attachmentOf(replica.spec.volumeId)) scheduleUsage(this.#context, replica.spec.volumeId);
  }
}

/** Another size is another file system: the pool's is gone. */
function differs(pool: Pool, sizeBytes: number, freeBytes: number): boolean {
  const { status } = pool;
  return Math.abs(freeBytes - status.freeBytes) > status.capacityBytes * noticeable || sizeBytes < status.capacityBytes;
}
