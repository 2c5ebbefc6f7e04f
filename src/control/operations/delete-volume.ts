import { AzekuraError, hasCode } from '../../model/errors.ts';
import type { RecycledVolume, Volume } from '../../model/kinds.ts';
import { apiVersion } from '../../model/meta.ts';
import { annotations, finalizers } from '../../model/names.ts';
import { VolumeStatus } from '../../model/volume.ts';
import { change } from '../../store/change.ts';
import { purgeRecycled } from '../recycle.ts';
import { refuseAttached } from './change-volume.ts';
import type { OperationsContext } from './context.ts';
import { waitForDeletion } from './settle.ts';
import { checkName } from './validate.ts';

/** See Operations.deleteVolume. */
export async function deleteVolume(
  context: OperationsContext,
  name: string,
  options: { readonly skipRecycleBin?: boolean; readonly dryRun?: boolean },
): Promise<void> {
  const volume = await context.need('Volume', name);
  if (volume.metadata.deletionTimestamp) return;
  await refuseAttached(context, volume);
  const forGood =
    options.skipRecycleBin === true ||
    volume.spec.recycleMs === 0 ||
    !context.capabilities(volume.spec.policy.engine).recycle;
  if (forGood) await refuseWithSnapshots(context, volume);
  if (options.dryRun) return;
  const marked = volume.metadata.annotations[annotations.skipRecycleBin] === 'true';
  if (marked !== forGood) await mark(context, name, forGood);
  await context.deps.store.delete('Volume', name, { uid: volume.metadata.uid });
}

async function mark(context: OperationsContext, name: string, skip: boolean): Promise<void> {
  await change(context.deps.store, 'Volume', name, ({ metadata }) => {
    const { [annotations.skipRecycleBin]: _before, ...kept } = metadata.annotations;
    return { metadata: { annotations: skip ? { ...kept, [annotations.skipRecycleBin]: 'true' } : kept } };
  });
}

/** Snapshots lie with their volume: they go with it, so somebody has to say so. */
async function refuseWithSnapshots(context: OperationsContext, volume: Volume): Promise<void> {
  const { volumeId } = volume.status;
  const names = volumeId === undefined ? [] : context.view.snapshotsOf(volumeId).map(({ metadata }) => metadata.name);
  const present = (await Promise.all(names.map((name) => context.deps.store.find('Snapshot', name)))).flatMap(
    (one) => one ?? [],
  );
  const staying = present.filter((one) => !one.metadata.deletionTimestamp).map((one) => one.metadata.name);
  if (staying.length === 0) return;
  throw new AzekuraError(
    'FailedPrecondition',
    `volume ${volume.metadata.name} has the snapshots ${staying.join(', ')}, which would go with it`,
    {
      next: 'delete the snapshots first, or let the volume go through the recycle bin',
      details: { snapshots: staying },
    },
  );
}

/** See Operations.undeleteVolume. */
export async function undeleteVolume(
  context: OperationsContext,
  name: string,
  options: { readonly as?: string; readonly dryRun?: boolean },
): Promise<Volume> {
  await waitForDeletion(context, name);
  const entry = findEntry(context, name);
  const as = options.as ?? entry.spec.volumeName;
  checkName('volume', as);
  const taken = await context.deps.store.find('Volume', as);
  if (taken) {
    if (taken.status.volumeId === entry.spec.volumeId && !taken.metadata.deletionTimestamp) return taken;
    throw new AzekuraError('AlreadyExists', `a volume ${as} exists`, { next: 'choose another name with --as' });
  }
  if (options.dryRun) return imagined(context, entry, as);
  const marked = await change(context.deps.store, 'RecycledVolume', entry.metadata.name, ({ metadata }) => {
    if (metadata.deletionTimestamp)
      throw new AzekuraError(
        'FailedPrecondition',
        `volume ${entry.spec.volumeName} is being removed for good already`,
        { next: 'restore it from a backup' },
      );
    return { metadata: { annotations: { ...metadata.annotations, [annotations.undeletedAs]: as } } };
  });
  if (!marked) throw notInBin(name);
  // Requests that were done on the old object would be done again on the new one.
  const { restore: _restore, repair: _repair, trim: _trim, changeKey: _changeKey, ...spec } = entry.spec.volume;
  try {
    return await context.deps.store.create({
      kind: 'Volume',
      metadata: {
        name: as,
        finalizers: [finalizers.volume],
        labels: entry.metadata.labels,
        annotations: { [annotations.volumeId]: entry.spec.volumeId },
      },
      spec,
      status: { volumeId: entry.spec.volumeId, sizeBytes: entry.spec.volume.sizeBytes },
    });
  } catch (error) {
    if (hasCode(error, 'AlreadyExists')) await unmark(context, entry.metadata.name);
    throw error;
  }
}

/** The name was taken at the same moment: the entry rests in the bin as before. */
async function unmark(context: OperationsContext, name: string): Promise<void> {
  await change(context.deps.store, 'RecycledVolume', name, ({ metadata }) => {
    const { [annotations.undeletedAs]: _before, ...kept } = metadata.annotations;
    return { metadata: { annotations: kept } };
  });
}

/** See Operations.purgeVolume. */
export async function purgeVolume(context: OperationsContext, name: string): Promise<RecycledVolume> {
  const entry = findEntry(context, name);
  const current = await context.need('RecycledVolume', entry.metadata.name);
  if (current.metadata.annotations[annotations.undeletedAs] !== undefined)
    throw new AzekuraError(
      'FailedPrecondition',
      `volume ${current.spec.volumeName} is just coming back from the recycle bin`,
    );
  if (!(await purgeRecycled(context.deps.store, current.metadata.name)))
    throw new AzekuraError('Conflict', `volume ${current.spec.volumeName} was changed at the same moment`, {
      next: 'try again',
    });
  return (await context.deps.store.find('RecycledVolume', current.metadata.name)) ?? current;
}

/** By its own name, or the newest one of a volume's name. */
function findEntry({ view }: OperationsContext, name: string): RecycledVolume {
  const exact = view.recycled.get(name);
  if (exact) return exact;
  const [newest] = view.recycled
    .list()
    .filter((entry) => entry.spec.volumeName === name)
    .sort((a, b) => (a.spec.deletedAt < b.spec.deletedAt ? 1 : -1));
  if (newest) return newest;
  throw notInBin(name);
}

function notInBin(name: string): AzekuraError {
  return new AzekuraError('NotFound', `no volume "${name.slice(0, 64)}" is in the recycle bin`, {
    next: 'list what there is with `azekura volume list --recycled`',
  });
}

function imagined(context: OperationsContext, entry: RecycledVolume, name: string): Volume {
  return {
    apiVersion,
    kind: 'Volume',
    metadata: {
      ...entry.metadata,
      name,
      uid: '',
      resourceVersion: '',
      generation: 1,
      creationTimestamp: context.now,
      finalizers: [],
    },
    spec: entry.spec.volume,
    status: VolumeStatus.parse({ volumeId: entry.spec.volumeId }),
  };
}
