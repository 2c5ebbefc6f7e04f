import { type Cause, makeCause } from '../../model/cause.ts';
import { hasCode, toAzekuraError } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { annotations, finalizers, replicaName } from '../../model/names.ts';
import { promise } from '../../placement/index.ts';
import type { ControlContext } from '../context.ts';
import { requestOf } from '../request.ts';
import { findPlace, placementCause } from './placing.ts';
import { type ResolvedSource, resolveSource, sourceInView } from './source.ts';

/**
 * Places a volume and makes its replica. Choosing and entering into the ledger happen in one turn of the event loop, so
 * that no two volumes are promised the same bytes.
 *
 * @returns why it could not be placed
 */
export async function createReplica(
  context: ControlContext,
  volume: Volume,
  volumeId: string,
): Promise<Cause | undefined> {
  const { view, deps } = context;
  const { metadata, spec, status } = volume;
  // What had data once is not made anew.
  if (status.sizeBytes > 0) {
    const where = status.replicas.map((one) => one.poolName).join(', ') || 'unknown';
    return makeCause('BackingMissing', { volume: metadata.name, path: `its replica (pool ${where}) has been removed` });
  }
  // Its copy is the data that it was made for, and comes with the next write of the one who adopts it.
  const adoptedFrom = metadata.annotations[annotations.adoptedFrom];
  if (adoptedFrom !== undefined)
    return makeCause('BackingMissing', {
      volume: metadata.name,
      path: `it is to be adopted from pool ${adoptedFrom}: \`azekura pool adopt ${adoptedFrom} ${volumeId}\``,
    });
  let source: ResolvedSource | undefined;
  try {
    source = spec.source && resolveSource(spec.source, sourceInView(view, spec.source));
  } catch (error) {
    const known = toAzekuraError(error);
    if (!known.blame) throw error;
    return known.blame;
  }
  const name = replicaName(volumeId, 0);
  // A dry run may have entered the volume already; its own promise must not count against it.
  view.ledger.delete(name);
  const wanted = { ...spec, poolName: source?.poolName ?? spec.poolName };
  const promised = wanted.poolName ?? metadata.annotations[annotations.promisedPool];
  // What was promised to a volume goes before what is kept for claims that have none yet.
  const asPromised = view.reservations.without(
    ({ poolName }) => poolName === promised,
    () => findPlace(view, { ...wanted, poolName: promised }),
  );
  const result = asPromised.chosen.length > 0 ? asPromised : findPlace(view, wanted);
  const [chosen] = result.chosen;
  if (!chosen) return placementCause(wanted, result);
  view.ledger.set(promise(name, chosen.poolName, spec));
  try {
    await deps.store.create({
      kind: 'Replica',
      metadata: { name, finalizers: [finalizers.agent], annotations: { ...requestOf(volume), ...whose(volume) } },
      spec: {
        ...chosen,
        volumeName: metadata.name,
        volumeUid: metadata.uid,
        volumeId,
        sizeBytes: spec.sizeBytes,
        mode: spec.mode,
        policy: spec.policy,
        className: spec.className,
        volumeCreatedAt: metadata.creationTimestamp,
        volumeGeneration: metadata.generation,
        ...(source ? { source: source.source } : {}),
        ...(spec.claim ? { claim: spec.claim } : {}),
      },
    });
  } catch (error) {
    if (hasCode(error, 'AlreadyExists')) return undefined;
    view.ledger.delete(name);
    throw error;
  }
  return undefined;
}

/** What a node makes for itself stays its own, copy and all. */
function whose({ metadata }: Volume): Record<string, string> {
  const mark = metadata.annotations[annotations.nodeOnly];
  return mark === undefined ? {} : { [annotations.nodeOnly]: mark };
}
