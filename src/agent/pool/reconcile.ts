import type { PoolObservation } from '../../engines/contract.ts';
import type { RunResult } from '../../lib/work-queue.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { blamed, toAzekuraError } from '../../model/errors.ts';
import type { Pool } from '../../model/kinds.ts';
import { annotations, finalizers, requestIdOf } from '../../model/names.ts';
import type { PoolStatus } from '../../model/pool.ts';
import { placeOf } from '../../model/pool.ts';
import { change, changeStatus } from '../../store/change.ts';
import { causeOfError, withSince } from '../causes.ts';
import { type AgentContext, keys, poolRef } from '../context.ts';
import { poolFigures, recycledBytesOf } from './figures.ts';
import { scanDue } from './orphans.ts';

/**
 * Converges a pool of this node: opens it, observes it, says how it is; or closes it and lets it go.
 *
 * @throws AzekuraError after the cause has been written to the pool
 */
export async function reconcilePool(context: AgentContext, name: string): Promise<RunResult> {
  const pool = await context.deps.store.find('Pool', name);
  if (!pool || pool.spec.nodeName !== context.deps.nodeName) return undefined;
  try {
    if (pool.metadata.deletionTimestamp) await remove(context, pool);
    else await keep(context, pool);
  } catch (error) {
    const cause = causeOfError(error, { step: 'agent.pool' });
    await writePoolStatus(context, pool, { phase: phaseAfter(pool, cause), causes: [cause] });
    throw error;
  } finally {
    serve(context, name);
  }
  return undefined;
}

/** The pool has been looked at for the first time: now its volumes are, whatever was found. */
function serve(context: AgentContext, name: string): void {
  if (context.servedPools.has(name)) return;
  context.servedPools.add(name);
  for (const { spec } of context.state.replicasOn(name)) context.trigger(keys.volume(spec.volumeId));
}

/** What a failure means for the volumes of the pool: they wait only when it is the pool itself that does not serve. */
function phaseAfter(pool: Pool, cause: Cause): PoolStatus['phase'] {
  if (pool.metadata.deletionTimestamp) return 'Removing';
  if (pool.status.poolId === undefined) return 'Failed';
  if (cause.code === 'PoolMissing') return 'Missing';
  return cause.code === 'StepFailed' ? pool.status.phase : 'Failed';
}

/** Observes a pool anew and writes its figures; the caller may rely on them afterwards. */
export async function refreshPool(context: AgentContext, name: string): Promise<void> {
  const pool = await context.deps.store.find('Pool', name);
  if (pool?.status.poolId === undefined || pool.metadata.deletionTimestamp) return;
  await report(context, pool, await context.engine(pool.spec.engine).pools.observe(poolRef(pool)));
}

async function keep(context: AgentContext, pool: Pool): Promise<void> {
  const { pools } = context.engine(pool.spec.engine);
  const known = pool.status.poolId !== undefined;
  let seen = known ? await pools.observe(poolRef(pool)) : undefined;
  let current = pool;
  if (!seen?.present) {
    context.scannedPools.delete(pool.metadata.name);
    current = await open(context, pool, known);
    seen = await pools.observe(poolRef(current));
  }
  if (!context.servedPools.has(pool.metadata.name)) await sweep(context, current);
  await context.tasks.settle(pool.metadata.uid, 'Succeeded');
  if (seen.present && (await maintain(context, current))) {
    seen = await pools.observe(poolRef(current));
    context.trigger(keys.pool(pool.metadata.name));
  }
  await report(context, current, seen);
  if (seen.present && scanDue(context, current)) context.trigger(keys.orphans(pool.metadata.name));
  if (!seen.present) {
    const place = placeOf(pool.spec.source);
    throw blamed('Unavailable', seen.causes[0] ?? makeCause('PoolMissing', { pool: pool.metadata.name, place }));
  }
}

/** Makes the pool, or mounts it after a reboot. */
async function open(context: AgentContext, pool: Pool, known: boolean): Promise<Pool> {
  const { name, uid, generation } = pool.metadata;
  const request = {
    verb: known ? 'OpenPool' : 'CreatePool',
    subject: { kind: 'Pool', name, uid },
    objectUid: uid,
    round: known ? `${generation}/${(await context.deps.host.facts()).bootId}` : 'create',
    ...requestIdOf(pool),
  };
  const opened = await context.tasks.run(request, async ({ steps }) => {
    const { pools } = context.engine(pool.spec.engine, steps);
    return steps.run('agent.pool.open', () => pools.open(poolRef(pool)));
  });
  return (await writePoolStatus(context, pool, { poolId: opened.poolId, path: opened.path })) ?? pool;
}

/** Removes what interrupted operations have left, before new ones begin: nothing is at work on the pool yet. */
async function sweep(context: AgentContext, pool: Pool): Promise<void> {
  const { quietSteps } = context.tasks;
  const { pools } = context.engine(pool.spec.engine, quietSteps);
  const movingVolumeIds = context.state.movingVolumeIds();
  const swept = await quietSteps.run('agent.pool.sweep', () =>
    pools.sweep(poolRef(pool), { idle: true, movingVolumeIds }),
  );
  if (swept.length > 0)
    context.deps.log.info({ pool: pool.metadata.name, swept }, 'cleared away what interrupted operations had left');
}

/**
 * What the pool needs done from time to time; a failure is told and tried again, and costs nothing that works.
 *
 * @returns whether anything was done
 */
async function maintain(context: AgentContext, pool: Pool): Promise<boolean> {
  const { quietSteps } = context.tasks;
  const { pools } = context.engine(pool.spec.engine, quietSteps);
  try {
    const done = (await pools.maintain?.(poolRef(pool))) ?? [];
    for (const sentence of done) context.deps.log.info({ pool: pool.metadata.name }, sentence);
    return done.length > 0;
  } catch (err) {
    context.deps.log.error({ err, pool: pool.metadata.name }, 'the pool could not be looked after');
    return false;
  }
}

async function report(context: AgentContext, pool: Pool, seen: PoolObservation): Promise<void> {
  const { name } = pool.metadata;
  const recycled = recycledBytesOf(context.state.replicasOn(name));
  const figures = poolFigures(pool, seen, context.state.ledger.sums(name), recycled);
  await writePoolStatus(context, pool, figures);
}

async function remove(context: AgentContext, pool: Pool): Promise<void> {
  const { name, uid, generation } = pool.metadata;
  const held = context.state.replicasOn(name);
  if (held.length > 0)
    throw blamed(
      'FailedPrecondition',
      makeCause('InUse', { what: `pool ${name}`, holder: held.map((one) => one.spec.volumeName).join(', ') }),
    );
  const destroy = pool.metadata.annotations[annotations.destroy] === 'true';
  const request = {
    verb: 'RemovePool',
    subject: { kind: 'Pool', name, uid },
    objectUid: uid,
    round: `${generation}/remove`,
    ...requestIdOf(pool),
  };
  if (pool.status.poolId !== undefined)
    await context.tasks.run(request, async ({ steps }) => {
      const { pools } = context.engine(pool.spec.engine, steps);
      if (destroy) await steps.run('agent.pool.destroy', () => pools.destroy(poolRef(pool)));
      else await steps.run('agent.pool.close', () => closePresent(pools, pool));
    });
  await change(context.deps.store, 'Pool', name, ({ metadata }) =>
    metadata.uid === uid
      ? { metadata: { finalizers: metadata.finalizers.filter((one) => one !== finalizers.agent) } }
      : undefined,
  );
}

/** A pool whose place is gone needs no closing. */
async function closePresent(
  pools: { close(pool: ReturnType<typeof poolRef>): Promise<void> },
  pool: Pool,
): Promise<void> {
  try {
    await pools.close(poolRef(pool));
  } catch (error) {
    if (toAzekuraError(error).blame?.code !== 'PoolMissing') throw error;
  }
}

async function writePoolStatus(
  context: AgentContext,
  pool: Pool,
  status: Partial<PoolStatus>,
): Promise<Pool | undefined> {
  return changeStatus(context.deps.store, 'Pool', pool.metadata.name, (stored) => ({
    ...status,
    observedGeneration: pool.metadata.generation,
    ...(status.causes ? { causes: withSince(status.causes, stored.status.causes, context.now) } : {}),
  }));
}
