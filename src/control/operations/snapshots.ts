import { freezesNest } from '../../lib/kernel-release.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, hasCode } from '../../model/errors.ts';
import type { Kind, NewResource, Resource, Snapshot, SnapshotGroup, Volume } from '../../model/kinds.ts';
import { kinds } from '../../model/kinds.ts';
import { apiVersion } from '../../model/meta.ts';
import { finalizers, memberSnapshotName } from '../../model/names.ts';
import { roomOf } from '../../placement/index.ts';
import { change } from '../../store/change.ts';
import type { Operations } from '../operations.ts';
import { consents, purge, withConsent } from '../purge.ts';
import { snapshotSpecOf } from '../snapshots.ts';
import { attachmentsNow } from './attachments.ts';
import type { OperationsContext } from './context.ts';
import { hasData, waitFor } from './settle.ts';
import { checkLabels, checkName } from './validate.ts';

/** See Operations.createSnapshot. */
export async function createSnapshot(
  context: OperationsContext,
  request: Parameters<Operations['createSnapshot']>[0],
): Promise<Snapshot> {
  const { name, volumeName, freeze = true } = request;
  checkName('snapshot', name);
  checkLabels(request.labels);
  const existing = await context.deps.store.find('Snapshot', name);
  if (existing) return sameSnapshot(existing, volumeName);
  const volume = await sourceVolume(context, volumeName, `snapshot ${name}`);
  const object: NewResource<'Snapshot'> = {
    kind: 'Snapshot',
    metadata: {
      name,
      finalizers: [finalizers.agent],
      labels: { ...request.labels },
      annotations: { ...request.annotations },
    },
    spec: snapshotSpecOf(context.view, volume, { freeze }),
  };
  if (request.dryRun) return imagined(context, object);
  try {
    return await context.deps.store.create(object);
  } catch (error) {
    if (!hasCode(error, 'AlreadyExists')) throw error;
    return sameSnapshot(await context.need('Snapshot', name), volumeName);
  }
}

/** See Operations.deleteSnapshot. */
export async function deleteSnapshot(context: OperationsContext, name: string, dryRun: boolean): Promise<void> {
  const snapshot = await context.need('Snapshot', name);
  const { groupName, volumeId } = snapshot.spec;
  if (groupName !== undefined && (await context.deps.store.find('SnapshotGroup', groupName)))
    throw new AzekuraError('FailedPrecondition', `snapshot ${name} is a member of the group ${groupName}`, {
      next: `delete the whole group with \`azekura snapshot delete --group ${groupName}\``,
    });
  const volume = volumeId === undefined ? undefined : context.view.volumeOf(volumeId);
  const pending = volume?.spec.restore && volume.status.restore?.requestId !== volume.spec.restore.requestId;
  if (pending && volume.spec.restore?.snapshotName === name)
    throw new AzekuraError(
      'FailedPrecondition',
      `volume ${volume.metadata.name} is being restored to snapshot ${name}`,
      { next: 'wait until that is done' },
    );
  if (!dryRun) await purge(context.deps.store, 'Snapshot', snapshot);
}

/** See Operations.createSnapshotGroup. */
export async function createSnapshotGroup(
  context: OperationsContext,
  request: Parameters<Operations['createSnapshotGroup']>[0],
): Promise<SnapshotGroup> {
  const { name, freeze = true } = request;
  checkName('snapshot group', name);
  const volumeNames = [...new Set(request.volumeNames)];
  if (volumeNames.length === 0)
    throw new AzekuraError('InvalidArgument', 'a snapshot group needs at least one volume', {
      next: 'name the volumes',
    });
  if (volumeNames.length > 64) throw new AzekuraError('InvalidArgument', 'a snapshot group has at most 64 volumes');
  const existing = await context.deps.store.find('SnapshotGroup', name);
  if (existing) return sameGroup(existing, volumeNames);
  const volumes: Volume[] = [];
  for (const volumeName of volumeNames) volumes.push(await sourceVolume(context, volumeName, `snapshot group ${name}`));
  await checkTogether(context, volumes, freeze);
  for (const volumeName of volumeNames) {
    const member = memberSnapshotName(name, volumeName);
    if (await context.deps.store.find('Snapshot', member))
      throw new AzekuraError(
        'AlreadyExists',
        `the member ${member} of the group would have the name of a snapshot that exists`,
        { next: 'choose another name for the group' },
      );
  }
  const object: NewResource<'SnapshotGroup'> = {
    kind: 'SnapshotGroup',
    metadata: { name, finalizers: [finalizers.group], annotations: { ...request.annotations } },
    spec: { volumeNames, freeze },
  };
  if (request.dryRun) return imagined(context, object);
  try {
    return await context.deps.store.create(object);
  } catch (error) {
    if (!hasCode(error, 'AlreadyExists')) throw error;
    return sameGroup(await context.need('SnapshotGroup', name), volumeNames);
  }
}

/** See Operations.deleteSnapshotGroup. */
export async function deleteSnapshotGroup(context: OperationsContext, name: string): Promise<void> {
  const group = await context.need('SnapshotGroup', name);
  await change(context.deps.store, 'SnapshotGroup', name, (stored) =>
    consents(stored) ? undefined : { metadata: { annotations: withConsent(stored) } },
  );
  await context.deps.store.delete('SnapshotGroup', name, { uid: group.metadata.uid });
}

async function sourceVolume(context: OperationsContext, name: string, wanted: string): Promise<Volume> {
  const found = await context.deps.store.find('Volume', name);
  const volume = found && (await waitFor(context, found, hasData));
  if (!volume || volume.metadata.deletionTimestamp)
    throw blamed('NotFound', makeCause('SourceNotFound', { source: `volume ${name.slice(0, 64)}`, wanted }));
  const { engine } = volume.spec.policy;
  const { snapshots, snapshotProvisioning } = context.capabilities(engine);
  context.require(engine, snapshots, 'take snapshots');
  const { provisioning } = volume.spec.policy;
  context.require(engine, snapshotProvisioning.includes(provisioning), `take snapshots of ${provisioning} volumes`);
  if (volume.status.sizeBytes === 0)
    throw blamed(
      'FailedPrecondition',
      volume.status.causes[0] ?? makeCause('SourceNotReady', { source: `volume ${name}` }),
    );
  for (const { poolName } of volume.status.replicas) {
    const pool = context.view.pools.get(poolName);
    if (pool && roomOf(pool, context.view.ledger.sums(poolName)).short)
      throw blamed(
        'ResourceExhausted',
        makeCause('PoolFull', { pool: poolName, wanted: 'room for what is written after the snapshot', free: '0' }),
      );
  }
  return volume;
}

/** One instant for all takes one machine, and something that can hold each of them still. */
async function checkTogether(context: OperationsContext, volumes: readonly Volume[], freeze: boolean): Promise<void> {
  const nodes = new Set(volumes.flatMap((volume) => volume.status.replicas.map((replica) => replica.nodeName)));
  if (nodes.size > 1)
    throw new AzekuraError(
      'Unimplemented',
      `the volumes are on several nodes (${[...nodes].join(', ')}), which cannot be held still at one instant`,
      {
        next: 'make a group for the volumes of each node',
      },
    );
  if (volumes.length === 1) return;
  const [node = ''] = nodes;
  const nest = freezesNest(context.view.nodes.get(node)?.status.kernel ?? '');
  for (const volume of volumes) {
    const { engine, encryption } = volume.spec.policy;
    const { groupBlock, cutHoldsMounted } = context.capabilities(engine);
    // What the agent can freeze needs nothing of the engine.
    const held = cutHoldsMounted && encryption === 'none' && freeze && !nest;
    const frozen = volume.spec.mode === 'filesystem' && !held;
    if (frozen || groupBlock) continue;
    const writable = (await attachmentsNow(context, volume)).some((attachment) => !attachment.spec.readOnly);
    if (writable)
      throw new AzekuraError(
        'Unimplemented',
        `volume ${volume.metadata.name} is attached, and engine ${engine} cannot hold back its writes together with those of others`,
        {
          next: 'detach it for the snapshot, or take its snapshot alone',
        },
      );
  }
}

function sameSnapshot(existing: Snapshot, volumeName: string): Snapshot {
  const { name, deletionTimestamp } = existing.metadata;
  if (deletionTimestamp)
    throw new AzekuraError('Aborted', `a snapshot ${name} is still being deleted`, { next: 'try again in a moment' });
  if (existing.spec.volumeName === volumeName && existing.spec.groupName === undefined) return existing;
  throw new AzekuraError('AlreadyExists', `snapshot ${name} exists, of volume ${existing.spec.volumeName}`, {
    next: 'choose another name',
  });
}

function sameGroup(existing: SnapshotGroup, volumeNames: readonly string[]): SnapshotGroup {
  const { name, deletionTimestamp } = existing.metadata;
  if (deletionTimestamp)
    throw new AzekuraError('Aborted', `a snapshot group ${name} is still being deleted`, {
      next: 'try again in a moment',
    });
  const same = [...existing.spec.volumeNames].sort().join() === [...volumeNames].sort().join();
  if (same) return existing;
  throw new AzekuraError('AlreadyExists', `snapshot group ${name} exists, of other volumes`, {
    next: 'choose another name',
  });
}

/** What would be stored, for a dry run. */
export function imagined<K extends Kind>(context: OperationsContext, object: NewResource<K>): Resource<K> {
  const { metadata, kind } = object;
  return {
    apiVersion,
    kind,
    metadata: {
      uid: '',
      resourceVersion: '',
      generation: 1,
      creationTimestamp: context.now,
      finalizers: [],
      ownerReferences: [],
      labels: {},
      annotations: {},
      ...metadata,
    },
    spec: kinds[kind].spec.parse(object.spec) as Resource<K>['spec'],
    status: kinds[kind].status.parse({}) as Resource<K>['status'],
  };
}
