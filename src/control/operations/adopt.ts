import { newUid } from '../../lib/id.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Pool, Replica } from '../../model/kinds.ts';
import { Name } from '../../model/meta.ts';
import { replicaName } from '../../model/names.ts';
import type { OrphanSnapshot, OrphanVolume, PoolOrphans } from '../../model/orphans.ts';
import { change } from '../../store/change.ts';
import { adoptReplica, adoptSnapshots, adoptVolume, orphanOf } from '../adopt.ts';
import type { AdoptAnswer, Adopted, AdoptRequest, NotAdopted } from '../operations.ts';
import type { OperationsContext } from './context.ts';
import { checkName } from './validate.ts';

/** An agent in reach answers within moments; reading a large pool takes its time. */
const patienceMs = 60_000;

/** See Operations.adoptPool. */
export async function adoptPool(context: OperationsContext, name: string, request: AdoptRequest): Promise<AdoptAnswer> {
  checkRequest(request);
  const listed = await lookAgain(context, await openPool(context, name));
  const pool = await context.need('Pool', name);
  const strays = await straysOn(context, name);
  const others = listed.volumes.filter(({ volumeId }) => !strays.has(volumeId));
  const orphans = { ...listed, volumes: [...others, ...[...strays.values()].map(orphanOf)] };
  const chosen = withKeyFile(choose(context, pool, orphans, request), request.keyFile);
  const adopted: Adopted[] = [];
  const conflicts: NotAdopted[] = [];
  for (const volume of chosen.volumes) {
    const wanted = request.as ?? volume.name;
    const conflict = await conflictOf(context, pool, volume, wanted, chosen.named.has(volume.volumeId));
    const shown = wanted ?? volume.volumeId;
    if (conflict) {
      conflicts.push({ volume: shown, volumeId: volume.volumeId, ...conflict });
      continue;
    }
    const snapshots = orphans.snapshots.filter(({ volumeId }) => volumeId === volume.volumeId);
    const replica = volume.recycled ? undefined : strays.get(volume.volumeId);
    if (!request.dryRun && replica) await adoptReplica(context.deps, replica, volume, shown);
    else if (!request.dryRun) await adoptVolume(context.deps, pool, volume, shown);
    adopted.push({
      volume: shown,
      volumeId: volume.volumeId,
      sizeBytes: volume.sizeBytes,
      recycled: volume.recycled !== undefined,
      snapshots: await adoptSnapshots(context.deps, pool, snapshots, request.dryRun === true, shown),
    });
  }
  for (const [volumeId, snapshots] of chosen.snapshots) {
    const volume =
      context.view.volumeOf(volumeId)?.metadata.name ?? context.view.recycledOf(volumeId)[0]?.spec.volumeName;
    if (volume === undefined) continue;
    const names = await adoptSnapshots(context.deps, pool, snapshots, request.dryRun === true, volume);
    if (names.length > 0) adopted.push({ volume, volumeId, sizeBytes: 0, recycled: false, snapshots: names });
  }
  const unlisted = listed.volumeCount - listed.volumes.length + listed.snapshotCount - listed.snapshots.length;
  return { pool: name, adopted, conflicts, unlisted };
}

/** Replicas on a pool whose Volume or RecycledVolume was removed by force, by volume id: they have kept their finalizers. */
async function straysOn({ deps, view }: OperationsContext, pool: string): Promise<ReadonlyMap<string, Replica>> {
  const strays = new Map<string, Replica>();
  for (const replica of view.replicasOn(pool)) {
    const { volumeId, volumeName, recycled } = replica.spec;
    if (replica.metadata.deletionTimestamp || view.volumeOf(volumeId)) continue;
    if (recycled && view.recycledOf(volumeId).length > 0) continue;
    const stored = await deps.store.find('Volume', volumeName);
    if (stored?.status.volumeId !== volumeId) strays.set(volumeId, replica);
  }
  return strays;
}

function checkRequest({ volumes, all, as }: AdoptRequest): void {
  const named = volumes?.length ?? 0;
  if (all === true ? named > 0 : named === 0)
    throw new AzekuraError('InvalidArgument', 'either volumes are named or all of them are meant', {
      next: 'name the volumes, or use --all',
    });
  if (as === undefined) return;
  checkName('volume', as);
  if (named !== 1)
    throw new AzekuraError('InvalidArgument', 'a new name is for one volume', { next: 'name exactly one volume' });
}

async function openPool(context: OperationsContext, name: string): Promise<Pool> {
  const pool = await context.need('Pool', name);
  if (pool.metadata.deletionTimestamp) throw new AzekuraError('FailedPrecondition', `pool ${name} is being removed`);
  if (pool.status.phase === 'Ready' || pool.status.phase === 'Draining') return pool;
  const [cause] = pool.status.causes;
  if (cause) throw blamed('FailedPrecondition', cause);
  throw new AzekuraError('FailedPrecondition', `pool ${name} is not ready`, {
    next: `see \`azekura why pool/${name}\``,
  });
}

/** Asks the agent of the node to look through the pool, also for a dry run: that changes nothing of the pool. */
async function lookAgain(context: OperationsContext, pool: Pool): Promise<PoolOrphans> {
  const { deps, view } = context;
  const { name } = pool.metadata;
  const requestId = newUid();
  const answer = (candidate: Pool | undefined) =>
    candidate?.status.orphans?.requestId === requestId ? candidate.status.orphans : undefined;
  return new Promise<PoolOrphans>((resolve, reject) => {
    const cancel = deps.clock.after(patienceMs, () =>
      end(() =>
        reject(
          new AzekuraError('Unavailable', `node ${pool.spec.nodeName} has not looked through pool ${name} in time`, {
            next: `see \`azekura why pool/${name}\`, and try again`,
          }),
        ),
      ),
    );
    const stop = view.pools.onChange(({ object, type }) => {
      const found = type === 'deleted' || object.metadata.name !== name ? undefined : answer(object);
      if (found) queueMicrotask(() => end(() => resolve(found)));
    });
    const end = (settle: () => void) => {
      cancel();
      stop();
      settle();
    };
    change(deps.store, 'Pool', name, ({ spec }) => ({ spec: { ...spec, scan: { requestId } } })).catch(
      (error: unknown) => end(() => reject(error instanceof Error ? error : new Error(String(error)))),
    );
  });
}

interface Chosen {
  readonly volumes: readonly OrphanVolume[];
  /** Volumes that were named by their id, or by a name that only one of them has. */
  readonly named: ReadonlySet<string>;
  /** Of volumes that have objects already, by volume id. */
  readonly snapshots: ReadonlyMap<string, readonly OrphanSnapshot[]>;
}

function choose(context: OperationsContext, pool: Pool, orphans: PoolOrphans, request: AdoptRequest): Chosen {
  const lost = new Set(orphans.volumes.map(({ volumeId }) => volumeId));
  const ofLiving = new Map<string, OrphanSnapshot[]>();
  for (const snapshot of orphans.snapshots)
    if (!lost.has(snapshot.volumeId))
      ofLiving.set(snapshot.volumeId, [...(ofLiving.get(snapshot.volumeId) ?? []), snapshot]);
  if (request.all) return { volumes: orphans.volumes, named: new Set(), snapshots: ofLiving };
  const volumes: OrphanVolume[] = [];
  const named = new Set<string>();
  const snapshots = new Map<string, readonly OrphanSnapshot[]>();
  for (const word of new Set(request.volumes)) {
    const found = orphans.volumes.filter(({ volumeId, name }) => volumeId === word || name === word);
    const living = [...ofLiving].filter(([id]) => id === word || context.view.volumeOf(id)?.metadata.name === word);
    if (found.length === 0 && living.length === 0)
      throw new AzekuraError('NotFound', `pool ${pool.metadata.name} holds no "${word.slice(0, 64)}" without objects`, {
        next: `\`azekura pool show ${pool.metadata.name}\` lists what it holds`,
      });
    volumes.push(...found.filter((volume) => !volumes.includes(volume)));
    const [only] = found;
    if (only && (found.length === 1 || word === only.volumeId)) named.add(only.volumeId);
    for (const [id, list] of living) snapshots.set(id, list);
  }
  if (request.as !== undefined && volumes.length !== 1)
    throw new AzekuraError('InvalidArgument', `${volumes.length} volumes on the pool are meant by that name`, {
      next: 'name one of them by its id',
    });
  return { volumes, named, snapshots };
}

/** @throws AzekuraError InvalidArgument when nothing that is meant has use for a key */
function withKeyFile(chosen: Chosen, keyFile: string | undefined): Chosen {
  if (keyFile === undefined) return chosen;
  if (!chosen.volumes.some(({ encryption }) => encryption))
    throw new AzekuraError('InvalidArgument', 'a key file is named, and nothing that is to be adopted is encrypted', {
      next: 'leave the key file out',
    });
  const volumes = chosen.volumes.map((volume) =>
    volume.encryption ? { ...volume, encryption: { ...volume.encryption, keyFile } } : volume,
  );
  return { ...chosen, volumes };
}

/** Why a volume cannot be adopted under a name; undefined when it can. */
async function conflictOf(
  { deps, view }: OperationsContext,
  pool: Pool,
  volume: OrphanVolume,
  name: string | undefined,
  meant: boolean,
): Promise<Pick<NotAdopted, 'problem' | 'next'> | undefined> {
  const { volumeId } = volume;
  const again = `\`azekura pool adopt ${pool.metadata.name} ${volumeId} --as NAME\` adopts it under another name`;
  if (volume.sizeBytes === 0)
    return { problem: volume.problem ?? 'it has no data', next: 'look with `azekura rescue list`' };
  if (name === undefined) return { problem: volume.problem ?? 'its name is not known', next: again };
  if (!Name.safeParse(name).success) return { problem: 'its name cannot be the name of a volume here', next: again };
  const [elsewhere] = view.replicasOf(volumeId).filter((replica) => replica.spec.poolName !== pool.metadata.name);
  if (elsewhere)
    return {
      problem: `volume ${elsewhere.spec.volumeName} on pool ${elsewhere.spec.poolName} is another copy of it`,
      next: 'compare them with `azekura rescue list`, and remove the folder of the one that is not wanted',
    };
  const twin = view.pools
    .list()
    .find(
      (one) =>
        one.metadata.name !== pool.metadata.name &&
        one.status.orphans?.volumes.some((other) => other.volumeId === volumeId),
    );
  if (twin && !meant)
    return {
      problem: `pool ${twin.metadata.name} holds another copy of it`,
      next: 'see which is newer with `azekura rescue list`, and adopt that one by its name',
    };
  const replica = await deps.store.find('Replica', replicaName(volumeId, 0));
  if (replica && replica.spec.poolName !== pool.metadata.name)
    return { problem: `${replica.metadata.name} exists on another pool`, next: again };
  if (volume.recycled) return undefined;
  const taken = await deps.store.find('Volume', name);
  if (!taken || taken.status.volumeId === volumeId) return undefined;
  return { problem: `a volume ${name} exists`, next: again };
}
