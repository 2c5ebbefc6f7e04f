import { isDeepStrictEqual } from 'node:util';
import { shortId } from '../../lib/id.ts';
import type { ClassSpec } from '../../model/class.ts';
import { AzekuraError, blamed, hasCode } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { apiVersion } from '../../model/meta.ts';
import { annotations, finalizers, replicaName } from '../../model/names.ts';
import type { Policy } from '../../model/policy.ts';
import { type VolumeSource, VolumeSpec, VolumeStatus } from '../../model/volume.ts';
import { promise } from '../../placement/index.ts';
import { policyOf } from '../class-policy.ts';
import type { CreateVolumeRequest, PlacementAnswer } from '../operations.ts';
import type { View } from '../view.ts';
import { type FoundPlace, findPlace, placementCause, type Wanted } from '../volume/placing.ts';
import { type ResolvedSource, resolveSource, type SourceObjects } from '../volume/source.ts';
import type { OperationsContext } from './context.ts';
import { hasData, waitFor } from './settle.ts';
import { checkLabels, checkName, checkSize, invalid } from './validate.ts';

/** See Operations.createVolume. */
export async function createVolume(
  context: OperationsContext,
  request: CreateVolumeRequest,
): Promise<{ readonly volume: Volume; readonly placement: PlacementAnswer }> {
  const { view, deps } = context;
  checkName('volume', request.name);
  checkLabels(request.labels);
  const existing = await deps.store.find('Volume', request.name);
  const klass = await context.needClass(request.className ?? existing?.spec.className);
  const objects = existing ? {} : await sourceNow(context, request.source);
  const source = existing || !request.source ? undefined : resolveSource(request.source, objects);
  const spec = await buildSpec(context, request, klass.metadata.name, klass.spec, source, existing);
  if (existing) return { volume: sameAsBefore(existing, spec), placement: whereItIs(existing) };
  const placement = placeReserved(view, request, { ...spec, poolName: source?.poolName ?? spec.poolName });
  const [chosen] = placement.chosen;
  if (!chosen) {
    const cause = placementCause(spec, placement);
    throw blamed(placement.onlySpaceLacks ? 'ResourceExhausted' : 'FailedPrecondition', cause, {
      details: { considered: placement.considered },
    });
  }
  const volumeId = shortId();
  const status = { volumeId, phase: 'Pending' as const };
  if (request.dryRun) return { volume: imagined(context, request, spec), placement };
  // Promised at once, so that the next request finds the pool as full as it will be; provisioning takes it over.
  const replica = replicaName(volumeId, 0);
  view.ledger.set(promise(replica, chosen.poolName, spec));
  try {
    const metadata = {
      name: request.name,
      finalizers: [finalizers.volume],
      labels: { ...request.labels },
      annotations: {
        ...request.annotations,
        [annotations.volumeId]: volumeId,
        [annotations.promisedPool]: chosen.poolName,
      },
    };
    return { volume: await deps.store.create({ kind: 'Volume', metadata, spec, status }), placement };
  } catch (error) {
    view.ledger.delete(replica);
    // Two requests for the same at the same time: the other one has made it.
    if (hasCode(error, 'AlreadyExists')) return createVolume(context, request);
    throw error;
  }
}

/** On the pool that was kept for the volume, when that still holds it; else on the same node: other volumes go there too. */
function placeReserved(view: View, { reservation, dryRun }: CreateVolumeRequest, wanted: Wanted): FoundPlace {
  const kept = reservation === undefined ? undefined : view.reservations.get(reservation);
  if (!kept || dryRun) return findPlace(view, wanted);
  view.reservations.delete(kept.key);
  const there = findPlace(view, { ...wanted, poolName: wanted.poolName ?? kept.poolName });
  return there.chosen.length > 0 ? there : findPlace(view, { ...wanted, nodeNames: [kept.nodeName] });
}

/** The source as it is stored now; one that was asked for a moment ago gets the time to be made. */
async function sourceNow(context: OperationsContext, source: VolumeSource | undefined): Promise<SourceObjects> {
  if (!source) return {};
  if (source.kind === 'snapshot') return { snapshot: await context.deps.store.find('Snapshot', source.name) };
  const volume = await context.deps.store.find('Volume', source.name);
  return { volume: volume && (await waitFor(context, volume, hasData)) };
}

async function buildSpec(
  context: OperationsContext,
  request: CreateVolumeRequest,
  className: string,
  klass: ClassSpec,
  source: ResolvedSource | undefined,
  existing: Volume | undefined,
): Promise<VolumeSpec> {
  const mode = request.mode ?? 'filesystem';
  if (mode === 'block' && request.filesystem !== undefined)
    throw contradiction('a raw block volume has no file system', 'leave out the file system, or --block');
  const parsed = policyOf(klass, request);
  if (!parsed.success) throw invalid('the parameters', parsed.error);
  const policy = parsed.data;
  checkPolicy(context, policy, mode, request);
  if (source) checkSource(context, request, policy, mode);
  const sizeBytes = sizeOf(request, policy, mode, source, existing);
  if (request.poolName !== undefined && !existing) await checkPin(context, request.poolName, source);
  const spec = VolumeSpec.safeParse({
    sizeBytes,
    className,
    mode,
    policy,
    recycleMs: request.recycleMs ?? klass.recycleMs,
    ...(request.source ? { source: request.source } : {}),
    ...(request.poolName === undefined ? {} : { poolName: request.poolName }),
    ...(request.nodeNames === undefined ? {} : { nodeNames: [...request.nodeNames] }),
    ...(request.claim ? { claim: request.claim } : {}),
  });
  if (!spec.success) throw invalid('the volume', spec.error);
  return spec.data;
}

function checkPolicy(
  context: OperationsContext,
  policy: Policy,
  mode: 'filesystem' | 'block',
  request: CreateVolumeRequest,
): void {
  const { engine } = policy;
  const definition = context.deps.engines(engine);
  const { capabilities } = definition;
  context.require(
    engine,
    capabilities.access.includes(mode),
    mode === 'block' ? 'make raw block volumes' : 'make volumes with a file system',
  );
  context.require(
    engine,
    capabilities.provisioning.includes(policy.provisioning),
    `make ${policy.provisioning} volumes`,
  );
  if (mode === 'filesystem')
    context.require(
      engine,
      capabilities.filesystems.includes(policy.filesystem),
      `make volumes with ${policy.filesystem}`,
    );
  context.require(engine, capabilities.replicas.includes(policy.replicas), `keep ${policy.replicas} copies`);
  context.require(engine, capabilities.shared || !policy.shared, 'share a volume between nodes');
  if (policy.encryption === 'none' && (policy.encryptionKeyFile ?? policy.encryptionDiscard) !== undefined)
    throw contradiction(
      'a key or discards are named, and no encryption',
      'add the encryption luks2, or leave them out',
    );
  if (request.source) context.require(engine, capabilities.clones, 'make volumes from snapshots or volumes');
  const parameters = definition.parameters.safeParse(policy.parameters);
  if (!parameters.success) throw invalid(`the parameters of engine ${engine}`, parameters.error);
}

/** A clone has the bytes of its source, so it has its mode and its file system. */
function checkSource(
  context: OperationsContext,
  request: CreateVolumeRequest,
  policy: Policy,
  mode: 'filesystem' | 'block',
): void {
  const origin = originOf(context, request);
  if (!origin) return;
  if (origin.spec.policy.engine !== policy.engine)
    throw contradiction(
      `the source is of engine ${origin.spec.policy.engine}, the class of engine ${policy.engine}`,
      'choose a class of the same engine',
    );
  if (origin.spec.mode !== mode)
    throw contradiction(
      `the source is a volume of mode ${origin.spec.mode}, not ${mode}`,
      'ask for the same mode as the source',
    );
  if (origin.spec.policy.encryption !== policy.encryption)
    throw contradiction(
      `the source has encryption ${origin.spec.policy.encryption}, the new volume would have ${policy.encryption}`,
      'choose the same encryption as the source: a clone has its bytes and its key',
    );
  if (mode === 'filesystem' && origin.spec.policy.filesystem !== policy.filesystem)
    throw contradiction(
      `the source holds ${origin.spec.policy.filesystem}, the class says ${policy.filesystem}`,
      'choose a class with the same file system',
    );
}

function originOf({ view }: OperationsContext, request: CreateVolumeRequest): Volume | undefined {
  const { source } = request;
  if (!source) return undefined;
  if (source.kind === 'volume') return view.volumes.get(source.name);
  return view.volumeOf(view.snapshots.get(source.name)?.spec.volumeId ?? '');
}

function sizeOf(
  request: CreateVolumeRequest,
  policy: Policy,
  mode: 'filesystem' | 'block',
  source: ResolvedSource | undefined,
  existing: Volume | undefined,
): number {
  const asked = request.sizeBytes ?? source?.sizeBytes ?? (request.source ? existing?.spec.sizeBytes : undefined);
  if (asked === undefined)
    throw new AzekuraError('InvalidArgument', 'a volume needs a size', { next: 'add --size, for example --size 10Gi' });
  const sizeBytes = checkSize(asked, mode, policy.filesystem);
  if (source && sizeBytes < source.sizeBytes)
    throw new AzekuraError('OutOfRange', `the size ${sizeBytes} is below that of the source, ${source.sizeBytes}`, {
      next: 'ask for at least the size of the source',
    });
  return sizeBytes;
}

async function checkPin(
  context: OperationsContext,
  poolName: string,
  source: ResolvedSource | undefined,
): Promise<void> {
  await context.need('Pool', poolName);
  if (source && source.poolName !== poolName)
    throw contradiction(
      `the source lies on pool ${source.poolName}, and a clone shares its blocks`,
      `leave out the pool, or name ${source.poolName}`,
    );
}

function contradiction(problem: string, next: string): AzekuraError {
  return new AzekuraError('InvalidArgument', problem, { next });
}

/** Asking again for what is there is no error, unless the particulars differ. */
function sameAsBefore(existing: Volume, spec: VolumeSpec): Volume {
  const { name } = existing.metadata;
  if (existing.metadata.deletionTimestamp)
    throw new AzekuraError('Aborted', `a volume ${name} is still being deleted`, { next: 'try again in a moment' });
  const compared = ['sizeBytes', 'className', 'mode', 'policy', 'source'] as const;
  // A key that has been changed since makes no other volume.
  const { encryptionKeyFile, ...policy } = spec.policy;
  const keptFile = existing.spec.policy.encryptionKeyFile ?? encryptionKeyFile;
  const wanted = { ...spec, policy: { ...policy, ...(keptFile === undefined ? {} : { encryptionKeyFile: keptFile }) } };
  const [different] = compared.filter((field) => !isDeepStrictEqual(existing.spec[field], wanted[field]));
  if (different === undefined) return existing;
  throw new AzekuraError(
    'AlreadyExists',
    `volume ${name} exists with another ${different === 'sizeBytes' ? 'size' : different}`,
    {
      next: 'choose another name',
    },
  );
}

function whereItIs(volume: Volume): PlacementAnswer {
  return { chosen: volume.status.replicas.map(({ nodeName, poolName }) => ({ nodeName, poolName })), considered: [] };
}

/** What would be stored, for a dry run. */
function imagined(context: OperationsContext, request: CreateVolumeRequest, spec: VolumeSpec): Volume {
  return {
    apiVersion,
    kind: 'Volume',
    metadata: {
      name: request.name,
      uid: '',
      resourceVersion: '',
      generation: 1,
      creationTimestamp: context.now,
      finalizers: [],
      ownerReferences: [],
      labels: { ...request.labels },
      annotations: { ...request.annotations },
    },
    spec,
    status: VolumeStatus.parse({}),
  };
}
