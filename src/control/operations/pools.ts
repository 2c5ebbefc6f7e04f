import { posix } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { someOf } from '../../lib/some-of.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, hasCode } from '../../model/errors.ts';
import type { NewResource, Node, Pool } from '../../model/kinds.ts';
import { annotations, finalizers } from '../../model/names.ts';
import { type PoolSource, PoolSpec, pathsOf, placeOf } from '../../model/pool.ts';
import { change } from '../../store/change.ts';
import { planDrain } from '../drain.ts';
import type { Operations } from '../operations.ts';
import type { OperationsContext } from './context.ts';
import { imagined } from './snapshots.ts';
import { checkLabels, checkName, invalid } from './validate.ts';

type CreatePool = Operations['createPool'];
type DrainPool = Operations['drainPool'];

/** See Operations.createPool. */
export async function createPool(
  context: OperationsContext,
  request: Parameters<CreatePool>[0],
): ReturnType<CreatePool> {
  const { name } = request;
  checkName('pool', name);
  checkLabels(request.labels);
  const parsed = PoolSpec.safeParse({ nodeName: context.deps.nodeName, ...request.spec });
  if (!parsed.success) throw invalid(`pool ${name}`, parsed.error);
  const spec = parsed.data;
  for (const path of pathsOf(spec.source)) checkPath(path);
  const definition = context.deps.engines(spec.engine);
  if (!definition.poolSources.includes(spec.source.kind))
    throw new AzekuraError('Unimplemented', `engine ${spec.engine} makes no pools from a ${spec.source.kind}`, {
      next: `it can use: ${definition.poolSources.join(', ')}`,
    });
  const existing = await context.deps.store.find('Pool', name);
  if (existing) {
    if (existing.metadata.deletionTimestamp)
      throw new AzekuraError('Aborted', `a pool ${name} is still being removed`, { next: 'try again in a moment' });
    if (isDeepStrictEqual(existing.spec.source, spec.source) && existing.spec.nodeName === spec.nodeName)
      return { pool: existing, plan: [], warnings: [] };
    throw new AzekuraError('AlreadyExists', `pool ${name} exists, at ${placeOf(existing.spec.source)}`, {
      next: 'choose another name',
    });
  }
  refuseSamePlace(context, spec);
  await context.need('Node', spec.nodeName);
  const side = context.deps.node(spec.nodeName);
  if (!side)
    throw new AzekuraError('Unavailable', `node ${spec.nodeName} cannot be reached from here`, {
      next: `add the pool on node ${spec.nodeName} itself`,
    });
  const { plan, warnings } = await side.inspectPool(name, spec);
  const object: NewResource<'Pool'> = {
    kind: 'Pool',
    metadata: { name, finalizers: [finalizers.agent], labels: { ...request.labels } },
    spec,
  };
  if (request.dryRun) return { pool: imagined(context, object), plan, warnings };
  try {
    return { pool: await context.deps.store.create(object), plan, warnings };
  } catch (error) {
    if (hasCode(error, 'AlreadyExists')) return createPool(context, request);
    throw error;
  }
}

export function checkPath(path: string): void {
  if (posix.normalize(path) === path && (path === '/' || !path.endsWith('/')) && !path.includes('\0')) return;
  throw new AzekuraError('InvalidArgument', `"${path.slice(0, 128)}" is not a path in its shortest form`, {
    next: 'give an absolute path without "." and ".."',
  });
}

/** Two pools in one place would each count its space as their own. */
export function refuseSamePlace(
  { view }: OperationsContext,
  spec: Pick<PoolSpec, 'nodeName' | 'source'>,
  except?: string,
): void {
  const other = view.pools
    .list()
    .find(
      (pool) =>
        pool.metadata.name !== except && pool.spec.nodeName === spec.nodeName && overlap(spec.source, pool.spec.source),
    );
  if (other)
    throw new AzekuraError(
      'FailedPrecondition',
      `pool ${other.metadata.name} is at ${placeOf(other.spec.source)}, which overlaps with ${placeOf(spec.source)}`,
      { next: 'choose a place of its own' },
    );
}

function overlap(a: PoolSource, b: PoolSource): boolean {
  if (a.kind === 'volumeGroup' && b.kind === 'volumeGroup') return a.group === b.group;
  return pathsOf(a).some((one) => pathsOf(b).some((other) => within(one, other) || within(other, one)));
}

function within(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(`${outer}/`);
}

/** See Operations.updatePool. */
export async function updatePool(
  context: OperationsContext,
  name: string,
  part: Parameters<Operations['updatePool']>[1],
): Promise<Pool> {
  const pool = await context.need('Pool', name);
  const parsed = PoolSpec.safeParse({ ...pool.spec, ...part });
  if (!parsed.success) throw invalid(`pool ${name}`, parsed.error);
  const { reservePercent, overcommitRatio, warnPercent, cordoned, deviceClass } = parsed.data;
  return edited(
    name,
    await change(context.deps.store, 'Pool', name, ({ spec }) => ({
      spec: { ...spec, reservePercent, overcommitRatio, warnPercent, cordoned, deviceClass },
    })),
  );
}

/** See Operations.drainPool. */
export async function drainPool(
  context: OperationsContext,
  name: string,
  options: NonNullable<Parameters<DrainPool>[1]>,
): ReturnType<DrainPool> {
  const pool = await context.need('Pool', name);
  if (pool.metadata.deletionTimestamp) throw new AzekuraError('FailedPrecondition', `pool ${name} is being removed`);
  const plan = options.cancel
    ? []
    : planDrain(context.view, pool, (replica) => context.capabilities(replica.spec.policy.engine).move);
  const moves = plan.flatMap((move) => ('to' in move ? [{ volume: move.replica.spec.volumeName, to: move.to }] : []));
  const cannot = plan.flatMap((move) =>
    'why' in move ? [{ volume: move.replica.spec.volumeName, why: move.why }] : [],
  );
  if (options.dryRun) return { pool, moves, cannot };
  const draining = options.cancel !== true;
  const changed = await change(context.deps.store, 'Pool', name, ({ spec }) =>
    spec.draining === draining ? undefined : { spec: { ...spec, draining } },
  );
  return { pool: edited(name, changed), moves, cannot };
}

/** See Operations.removePool. */
export async function removePool(
  context: OperationsContext,
  name: string,
  options: { readonly destroy?: boolean; readonly dryRun?: boolean },
): Promise<void> {
  const pool = await context.need('Pool', name);
  if (pool.metadata.deletionTimestamp) return;
  const held = context.view.replicasOn(name);
  if (held.length > 0) {
    const living = held
      .filter((replica) => !replica.spec.recycled)
      .map((replica) => `volume ${replica.spec.volumeName}`);
    const resting = held
      .filter((replica) => replica.spec.recycled)
      .map((replica) => `deleted volume ${replica.spec.volumeName}`);
    const all = [...living, ...resting];
    throw blamed('FailedPrecondition', makeCause('InUse', { what: `pool ${name}`, holder: someOf(all) }), {
      next:
        living.length > 0
          ? `move its volumes with \`azekura pool drain ${name}\`, or delete them`
          : 'purge the deleted volumes with `azekura volume purge`',
    });
  }
  const coming = context.view.volumes.list().find((volume) => volume.spec.poolName === name);
  if (coming)
    throw blamed(
      'FailedPrecondition',
      makeCause('InUse', { what: `pool ${name}`, holder: `volume ${coming.metadata.name}, which is bound to it` }),
    );
  if (options.dryRun) return;
  if (options.destroy)
    await change(context.deps.store, 'Pool', name, ({ metadata }) => ({
      metadata: { annotations: { ...metadata.annotations, [annotations.destroy]: 'true' } },
    }));
  await context.deps.store.delete('Pool', name, { uid: pool.metadata.uid });
}

/** See Operations.cordonNode. */
export async function cordonNode(context: OperationsContext, name: string, cordoned: boolean): Promise<Node> {
  await context.need('Node', name);
  const node = await change(context.deps.store, 'Node', name, ({ spec }) =>
    spec.cordoned === cordoned ? undefined : { spec: { ...spec, cordoned } },
  );
  if (node) return node;
  throw new AzekuraError('NotFound', `node ${name} has been removed meanwhile`);
}

function edited(name: string, pool: Pool | undefined): Pool {
  if (pool) return pool;
  throw new AzekuraError('NotFound', `pool ${name} has been removed meanwhile`);
}
