import { AzekuraError } from '../../model/errors.ts';
import type { Pool } from '../../model/kinds.ts';
import { type PoolDisk, type PoolSource, PoolSpec, pathsOf } from '../../model/pool.ts';
import { change } from '../../store/change.ts';
import type { Operations } from '../operations.ts';
import type { OperationsContext } from './context.ts';
import { checkPath, refuseSamePlace } from './pools.ts';
import { invalid } from './validate.ts';

type ChangeDisks = Operations['changeDisks'];
type Request = Parameters<ChangeDisks>[1];

/** See Operations.changeDisks. */
export async function changeDisks(context: OperationsContext, name: string, request: Request): ReturnType<ChangeDisks> {
  const pool = await context.need('Pool', name);
  if (pool.metadata.deletionTimestamp) throw new AzekuraError('FailedPrecondition', `pool ${name} is being removed`);
  const parsed = PoolSpec.safeParse(wanted(pool, request));
  if (!parsed.success) throw invalid(`pool ${name}`, parsed.error);
  const spec = parsed.data;
  for (const path of request.add ?? []) {
    checkPath(path);
    refuseSamePlace(context, { nodeName: spec.nodeName, source: { kind: 'disks', disks: [path] } }, name);
  }
  const side = context.deps.node(spec.nodeName);
  if (!side)
    throw new AzekuraError('Unavailable', `node ${spec.nodeName} cannot be reached from here`, {
      next: `change the pool on node ${spec.nodeName} itself`,
    });
  const { plan, warnings } = await side.inspectPool(name, spec);
  const refused = warnings.find(({ code }) => code === 'DiskRefused' || code === 'DiskStays');
  if (refused)
    throw new AzekuraError('FailedPrecondition', refused.message, { next: refused.nextStep, blame: refused });
  if (request.dryRun) return { pool: { ...pool, spec }, plan, warnings };
  const changed = await change(context.deps.store, 'Pool', name, (stored) => ({ spec: wanted(stored, request) }));
  if (!changed) throw new AzekuraError('NotFound', `pool ${name} has been removed meanwhile`);
  return { pool: changed, plan, warnings };
}

function wanted(pool: Pick<Pool, 'metadata' | 'spec' | 'status'>, request: Request): PoolSpec {
  const { spec, status } = pool;
  const { add = [], remove = [], confirmedIds = [] } = request;
  const { source } = spec;
  if (source.kind !== 'disks' && source.kind !== 'volumeGroup')
    throw new AzekuraError('FailedPrecondition', `pool ${pool.metadata.name} is not made of disks`, {
      next: 'add another pool on the disk: `azekura pool add`',
    });
  const leaving = remove.map((word) => diskOf(pool.metadata.name, status.disks, pathsOf(source), word));
  const gone = new Set(leaving.flatMap((disk) => (typeof disk === 'string' ? [disk] : [disk.source])));
  const ids = leaving.flatMap((disk) => (typeof disk === 'string' ? [] : [disk.id]));
  const paths = [...pathsOf(source).filter((path) => !gone.has(path)), ...add];
  if (source.kind === 'disks' && paths.length === 0)
    throw new AzekuraError('FailedPrecondition', `${remove.join(', ')} is all that pool ${pool.metadata.name} has`, {
      next: 'add another disk first, or drain and remove the whole pool',
    });
  const present = new Set(status.disks.map(({ id }) => id));
  return {
    ...spec,
    source: withDisks(source, paths, confirmedIds),
    // What has left already is forgotten: the same disk may come back.
    leavingDisks: [...new Set([...spec.leavingDisks.filter((id) => present.has(id)), ...ids])],
  };
}

function withDisks(
  source: Extract<PoolSource, { kind: 'disks' | 'volumeGroup' }>,
  paths: readonly string[],
  confirmedIds: readonly string[],
): PoolSource {
  const confirmed = [...new Set([...(source.confirmedIds ?? []), ...confirmedIds])];
  const disks = [...new Set(paths)];
  const named = source.kind === 'disks' ? { ...source, disks } : { ...source, moreDisks: disks };
  return { ...named, ...(confirmed.length > 0 ? { confirmedIds: confirmed } : {}) };
}

/** A disk of the pool, or the path of one that it was told to take and has not taken. @throws AzekuraError NotFound */
function diskOf(pool: string, disks: readonly PoolDisk[], paths: readonly string[], word: string): PoolDisk | string {
  const found = disks.find(({ path, id, serial }) => word === path || word === id || word === serial);
  if (found) return found;
  if (paths.includes(word) && !disks.some(({ source }) => source === word)) return word;
  throw new AzekuraError('NotFound', `pool ${pool} has no disk ${word}`, {
    next: `it has ${disks.map(({ path }) => path).join(', ') || 'none'}`,
  });
}
