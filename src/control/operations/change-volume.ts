import { newUid } from '../../lib/id.ts';
import { formatBytes } from '../../lib/quantity.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { presentDisks } from '../../model/pool.ts';
import { roomFor, roomOf } from '../../placement/index.ts';
import { change } from '../../store/change.ts';
import { attachmentsNow } from './attachments.ts';
import type { OperationsContext } from './context.ts';
import { checkLabels, checkSize } from './validate.ts';

/** See Operations.expandVolume. */
export async function expandVolume(
  context: OperationsContext,
  name: string,
  wantedBytes: number,
  dryRun: boolean,
): Promise<Volume> {
  const volume = await context.needVolume(name);
  const { spec, status } = volume;
  const sizeBytes = checkSize(wantedBytes, spec.mode, spec.policy.filesystem);
  if (sizeBytes < spec.sizeBytes)
    throw new AzekuraError(
      'OutOfRange',
      `volume ${name} has ${formatBytes(spec.sizeBytes)} already; volumes do not shrink`,
      { next: `ask for more than ${formatBytes(spec.sizeBytes)}` },
    );
  if (sizeBytes === spec.sizeBytes) return volume;
  const attached = (await attachmentsNow(context, volume)).length > 0;
  if (attached)
    context.require(
      spec.policy.engine,
      context.capabilities(spec.policy.engine).onlineExpansion,
      'expand a volume that is attached',
    );
  const growthBytes = sizeBytes - Math.max(spec.sizeBytes, status.sizeBytes);
  for (const { poolName } of status.replicas) {
    const pool = context.view.pools.get(poolName);
    if (!pool) continue;
    const room = roomOf(pool, context.view.ledger.sums(poolName));
    const left = roomFor(spec.policy, room, presentDisks(pool.status));
    if (growthBytes > left)
      throw blamed(
        'ResourceExhausted',
        makeCause('PoolFull', { pool: poolName, wanted: `${formatBytes(growthBytes)} more`, free: formatBytes(left) }),
      );
  }
  if (dryRun) return { ...volume, spec: { ...spec, sizeBytes } };
  return edited(
    name,
    await change(context.deps.store, 'Volume', name, (stored) => {
      refuseDeleting(stored);
      return stored.spec.sizeBytes >= sizeBytes ? undefined : { spec: { ...stored.spec, sizeBytes } };
    }),
  );
}

/** See Operations.restoreVolume. */
export async function restoreVolume(
  context: OperationsContext,
  name: string,
  snapshotName: string,
  dryRun: boolean,
): Promise<Volume> {
  const volume = await context.needVolume(name);
  const { engine } = volume.spec.policy;
  context.require(engine, context.capabilities(engine).restoreInPlace, 'put a snapshot back in place');
  const snapshot = await context.need('Snapshot', snapshotName);
  if (snapshot.spec.volumeId !== volume.status.volumeId)
    throw new AzekuraError(
      'InvalidArgument',
      `snapshot ${snapshotName} is of volume ${snapshot.spec.volumeName}, not of ${name}`,
      {
        next: `make a new volume of it with \`azekura volume create NAME --from-snapshot ${snapshotName}\``,
      },
    );
  if (!snapshot.status.readyToUse || snapshot.metadata.deletionTimestamp)
    throw blamed(
      'FailedPrecondition',
      snapshot.status.causes[0] ?? makeCause('SourceNotReady', { source: `snapshot ${snapshotName}` }),
    );
  await refuseAttached(context, volume);
  if (dryRun) return volume;
  const restore = { snapshotName, requestId: newUid() };
  return edited(
    name,
    await change(context.deps.store, 'Volume', name, (stored) => {
      refuseDeleting(stored);
      const pending = stored.spec.restore && stored.status.restore?.requestId !== stored.spec.restore.requestId;
      if (pending && stored.spec.restore?.snapshotName === snapshotName) return undefined;
      if (pending)
        throw new AzekuraError('Aborted', `volume ${name} is being restored to ${stored.spec.restore?.snapshotName}`, {
          next: 'wait until that is done',
        });
      return { spec: { ...stored.spec, restore } };
    }),
  );
}

/** See Operations.repairVolume. */
export async function repairVolume(context: OperationsContext, name: string): Promise<Volume> {
  const volume = await context.needVolume(name);
  if (volume.spec.mode === 'block')
    throw new AzekuraError('FailedPrecondition', `volume ${name} is a raw block volume: it has no file system of ours`);
  await refuseAttached(context, volume);
  for (const { poolName } of volume.status.replicas) {
    const pool = context.view.pools.get(poolName);
    if (pool && roomOf(pool, context.view.ledger.sums(poolName)).short)
      throw blamed(
        'ResourceExhausted',
        makeCause('PoolFull', { pool: poolName, wanted: 'room for a repair', free: '0' }),
      );
  }
  const repair = { requestId: newUid() };
  return edited(
    name,
    await change(context.deps.store, 'Volume', name, (stored) => {
      refuseDeleting(stored);
      const pending = stored.spec.repair && stored.status.repair?.requestId !== stored.spec.repair.requestId;
      return pending ? undefined : { spec: { ...stored.spec, repair } };
    }),
  );
}

/** See Operations.trimVolume. */
export async function trimVolume(context: OperationsContext, name: string): Promise<Volume> {
  const volume = await context.needVolume(name);
  const { mode, policy } = volume.spec;
  if (mode === 'block')
    throw new AzekuraError(
      'FailedPrecondition',
      `volume ${name} is a raw block volume: it has no file system of ours`,
      {
        next: 'have the program that uses it discard what it does not need',
      },
    );
  if (policy.provisioning === 'thick')
    throw new AzekuraError('FailedPrecondition', `volume ${name} is thick: it keeps all of its space`, {
      next: 'make a thin volume when space is to come back',
    });
  const attachments = await attachmentsNow(context, volume);
  if (!attachments.some(({ spec, status }) => !spec.readOnly && status.stagingPath !== undefined))
    throw new AzekuraError('FailedPrecondition', `volume ${name} is not mounted for writing`, {
      next: `mount it with \`azekura volume mount ${name} PATH\``,
    });
  const trim = { requestId: newUid() };
  return edited(
    name,
    await change(context.deps.store, 'Volume', name, (stored) => {
      refuseDeleting(stored);
      const pending = stored.spec.trim && stored.status.trim?.requestId !== stored.spec.trim.requestId;
      return pending ? undefined : { spec: { ...stored.spec, trim } };
    }),
  );
}

/** See Operations.labelVolume. */
export async function labelVolume(
  context: OperationsContext,
  name: string,
  labels: Readonly<Record<string, string | null>>,
): Promise<Volume> {
  checkLabels(labels);
  await context.needVolume(name);
  return edited(
    name,
    await change(context.deps.store, 'Volume', name, ({ metadata }) => {
      const kept: Record<string, string> = { ...metadata.labels };
      for (const [key, value] of Object.entries(labels)) {
        if (value === null) delete kept[key];
        else kept[key] = value;
      }
      return { metadata: { labels: kept } };
    }),
  );
}

/** See Operations.modifyVolume. */
export async function modifyVolume(
  context: OperationsContext,
  name: string,
  changes: { readonly recycleMs?: number },
): Promise<Volume> {
  const volume = await context.needVolume(name);
  const { recycleMs } = changes;
  if (recycleMs === undefined) return volume;
  if (!Number.isSafeInteger(recycleMs) || recycleMs < 0)
    throw new AzekuraError(
      'InvalidArgument',
      'the time in the recycle bin is not a whole number of milliseconds from 0 on',
    );
  return edited(
    name,
    await change(context.deps.store, 'Volume', name, (stored) => {
      refuseDeleting(stored);
      return { spec: { ...stored.spec, recycleMs } };
    }),
  );
}

/** @throws AzekuraError FailedPrecondition with blame InUse */
export async function refuseAttached(context: OperationsContext, volume: Volume): Promise<void> {
  const attachments = await attachmentsNow(context, volume);
  if (attachments.length === 0) return;
  const where = attachments.map(({ spec }) => {
    const paths = spec.published.map((one) => one.path).join(', ');
    return paths ? `node ${spec.nodeName}, at ${paths}` : `node ${spec.nodeName}`;
  });
  throw blamed(
    'FailedPrecondition',
    makeCause('InUse', { what: `volume ${volume.metadata.name}`, holder: where.join('; ') }),
  );
}

function refuseDeleting({ metadata }: Pick<Volume, 'metadata'>): void {
  if (metadata.deletionTimestamp)
    throw new AzekuraError('FailedPrecondition', `volume ${metadata.name} is being deleted`);
}

function edited(name: string, volume: Volume | undefined): Volume {
  if (volume) return volume;
  throw new AzekuraError('NotFound', `volume ${name} has been deleted meanwhile`);
}
