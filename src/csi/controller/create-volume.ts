import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CreateVolumeRequest as Operation } from '../../control/operations.ts';
import type { CreateVolumeRequest, CreateVolumeResponseSchema, VolumeContentSource } from '../../gen/csi/csi_pb.js';
import { AzekuraError, blamed, hasCode } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { required } from '../common/arguments.ts';
import { type Capability, isMultiNode, parseCapabilities } from '../common/capability.ts';
import { chooseSize, type SizeBounds, sizeBounds, withinBounds } from '../common/capacity-range.ts';
import { classOf, requestOfClass } from '../common/class-request.ts';
import type { CsiContext } from '../common/context.ts';
import { finalFailure, stateSentence } from '../common/failure.ts';
import { nodesOf, volumeMessage } from '../common/messages.ts';
import { canonical, csiAnnotations, objectName } from '../common/names.ts';
import { type ClassParameters, encryptionOf, immutableParameters, parseParameters } from '../common/parameters.ts';
import { admittedNodes } from '../common/topology.ts';
import type { KeptRoom } from '../deps.ts';
import type { Call } from '../grpc/call.ts';
import { removeVolume } from './delete-volume.ts';

/** What a request for a volume amounts to, checked. */
interface Wanted {
  readonly csiName: string;
  readonly capability: Capability;
  readonly bounds: SizeBounds;
  readonly parameters: ClassParameters;
  readonly parametersText: string;
  readonly filesystem: 'xfs' | 'ext4' | undefined;
  /** "snapshot:<handle>", "volume:<handle>" or "". */
  readonly sourceText: string;
  /** Undefined without one, and for a volume that is there already. */
  readonly source: Source | undefined;
  readonly nodeNames: readonly string[] | undefined;
}

interface Source {
  readonly spec: NonNullable<Operation['source']>;
  readonly sizeBytes: number;
  /** Where it lies; undefined while nobody knows. */
  readonly poolName: string | undefined;
  /** Of the volume that it comes from, when that still exists. */
  readonly origin: Volume | undefined;
}

/**
 * CreateVolume: empty, from a snapshot or from a volume; waits until it is ready. The same name with the same
 * particulars gives the same volume.
 *
 * @throws AzekuraError InvalidArgument, NotFound (source), AlreadyExists, OutOfRange, ResourceExhausted when no admitted
 *   node has room (then nothing of it is left), Aborted, DeadlineExceeded
 */
export async function createVolume(
  context: CsiContext,
  request: CreateVolumeRequest,
  call: Call,
): Promise<MessageInitShape<typeof CreateVolumeResponseSchema>> {
  const checked = check(request);
  const name = objectName(checked.csiName);
  return context.locks.run({ exclusive: [`create/${name}`] }, async () => {
    const existing = await context.deps.store.find('Volume', name);
    // What it was made from may be gone by now: the name, and what is noted, say that this is the volume.
    const text = sourceText(request.volumeContentSource);
    const known = existing !== undefined && (existing.metadata.annotations[csiAnnotations.source] ?? '') === text;
    const source = known ? undefined : await findSource(context, request.volumeContentSource, checked);
    const volume = await provideVolume(context, name, existing, { ...checked, sourceText: text, source }, call);
    return { volume: volumeMessage(volume) };
  });
}

function check(request: CreateVolumeRequest): Omit<Wanted, 'source' | 'sourceText'> {
  const csiName = required(request.name, 'name');
  const [capability, ...others] = parseCapabilities(request.volumeCapabilities);
  const multi = [capability, ...others].find(({ accessMode }) => isMultiNode(accessMode));
  const parameters = parseParameters(request.parameters, request.mutableParameters);
  const filesystem = [capability, ...others].find((each) => each.filesystem)?.filesystem ?? parameters.filesystem;
  if (filesystem && parameters.filesystem && filesystem !== parameters.filesystem)
    throw new AzekuraError(
      'InvalidArgument',
      `the class says ${parameters.filesystem}, the capability says ${filesystem}`,
    );
  return {
    csiName,
    capability: multi ?? capability,
    bounds: sizeBounds(request.capacityRange),
    parameters,
    parametersText: canonical(immutableParameters(request.parameters)),
    filesystem: capability.access === 'filesystem' ? filesystem : undefined,
    nodeNames: admittedNodes(request.accessibilityRequirements),
  };
}

function sourceText(source: VolumeContentSource | undefined): string {
  if (!source) return '';
  if (source.type.case === 'snapshot') return `snapshot:${source.type.value.snapshotId}`;
  if (source.type.case === 'volume') return `volume:${source.type.value.volumeId}`;
  throw new AzekuraError('InvalidArgument', 'volume_content_source names neither a snapshot nor a volume');
}

async function findSource(
  context: CsiContext,
  source: VolumeContentSource | undefined,
  wanted: Omit<Wanted, 'source' | 'sourceText'>,
): Promise<Source | undefined> {
  const type = source?.type;
  if (type?.case === 'snapshot') {
    const handle = required(type.value.snapshotId, 'snapshot_id');
    const snapshot = await context.needSnapshot(handle);
    if (!snapshot.status.readyToUse)
      throw new AzekuraError('Aborted', 'the snapshot is not ready yet', { next: 'call again' });
    const origin = snapshot.spec.volumeId ? context.deps.view.volumeOf(snapshot.spec.volumeId) : undefined;
    return checkSource(wanted, {
      spec: { kind: 'snapshot', name: snapshot.metadata.name },
      sizeBytes: snapshot.status.sizeBytes,
      poolName: snapshot.spec.poolName,
      origin,
    });
  }
  if (type?.case === 'volume') {
    const handle = required(type.value.volumeId, 'volume_id');
    const origin = await context.needVolume(handle);
    if (origin.metadata.deletionTimestamp)
      throw new AzekuraError('NotFound', `the volume with the handle "${handle}" is being deleted`);
    return checkSource(wanted, {
      spec: { kind: 'volume', name: origin.metadata.name },
      sizeBytes: origin.status.sizeBytes || origin.spec.sizeBytes,
      poolName: origin.status.replicas.findLast(({ phase }) => phase === 'Ready')?.poolName,
      origin,
    });
  }
  return undefined;
}

function checkSource(wanted: Omit<Wanted, 'source' | 'sourceText'>, source: Source): Source {
  if (!source.origin) return source;
  const { mode, policy } = source.origin.spec;
  if (mode !== wanted.capability.access)
    throw new AzekuraError(
      'InvalidArgument',
      `the source is for ${mode}, so what is made of it cannot be for ${wanted.capability.access}`,
    );
  if (wanted.filesystem && mode === 'filesystem' && wanted.filesystem !== policy.filesystem)
    throw new AzekuraError(
      'InvalidArgument',
      `the source has ${policy.filesystem}, so what is made of it cannot have ${wanted.filesystem}`,
    );
  return source;
}

async function provideVolume(
  context: CsiContext,
  name: string,
  existing: Volume | undefined,
  wanted: Wanted,
  call: Call,
): Promise<Volume> {
  const { operations } = context.deps;
  const sizeBytes = chooseSize(wanted.bounds, wanted.source?.sizeBytes);
  if (existing) {
    const problem = difference(existing, wanted);
    if (problem) throw new AzekuraError('AlreadyExists', `volume "${wanted.csiName}" exists, and ${problem}`);
    if (existing.metadata.deletionTimestamp)
      throw new AzekuraError('Aborted', `a volume of that name is being deleted`, { next: 'call again' });
  }
  if (existing) {
    const ready = await readyVolume(context, existing, call);
    const problem = misplaced(ready, wanted.nodeNames);
    if (problem) throw new AzekuraError('AlreadyExists', `volume "${wanted.csiName}" exists, and ${problem}`);
    return ready;
  }
  refuseUnshared(context, wanted);
  const kept = reserve(context, wanted, sizeBytes);
  try {
    const request = { ...operationOf(name, sizeBytes, wanted), ...(kept ? { reservation: kept.key } : {}) };
    const { volume } = await operations.as(call).createVolume(request).catch(tryElsewhere(wanted));
    return await readyVolume(context, volume, call);
  } finally {
    kept?.release();
  }
}

async function readyVolume(context: CsiContext, created: Volume, call: Call): Promise<Volume> {
  const { name } = created.metadata;
  try {
    return await context.volumes.until(name, call, {
      since: created,
      look: (object) => readiness(object),
      describe: (object) => stateSentence(`volume ${name}`, object),
    });
  } catch (error) {
    if (hasCode(error, 'ResourceExhausted', 'FailedPrecondition')) await removeUnmade(context, created, error, call);
    throw error;
  }
}

/**
 * Where the scheduler has sent a pod there may be no pool for its volume, though there is one elsewhere: a clone lies where
 * its source does. RESOURCE_EXHAUSTED is CSI's word for a topology in which a volume cannot be made; only after it does
 * the provisioner let the scheduler choose again.
 */
function tryElsewhere({ nodeNames }: Wanted): (error: unknown) => never {
  return (error) => {
    if (nodeNames && error instanceof AzekuraError && error.blame?.code === 'PoolNotFound')
      throw blamed('ResourceExhausted', error.blame, { details: error.details });
    throw error;
  };
}

/**
 * RESOURCE_EXHAUSTED sends the pod to another node, and after FAILED_PRECONDITION the provisioner forgets the volume as
 * well: both say that nothing is going on any more, so it must be true. What has been there before is not taken away.
 *
 * @throws AzekuraError Aborted for a volume that holds data: it is being mended, not made
 */
async function removeUnmade(context: CsiContext, created: Volume, error: AzekuraError, call: Call): Promise<void> {
  const stored = await context.deps.store.find('Volume', created.metadata.name);
  if (stored?.metadata.uid !== created.metadata.uid) return;
  if (stored.status.sizeBytes > 0) throw new AzekuraError('Aborted', error.message, { cause: error });
  await removeVolume(context, stored, call, { skipRecycleBin: true });
}

/** Keeps room for all claims of the pod that this one is for. What has a source lies where that lies. */
function reserve({ deps }: CsiContext, wanted: Wanted, sizeBytes: number): KeptRoom | undefined {
  const { parameters, source, nodeNames } = wanted;
  const { claim } = parameters;
  const request = requestOfClass(deps.view, parameters);
  if (!claim || !request || (source && source.poolName === undefined)) return undefined;
  const poolName = source?.poolName ?? request.poolName;
  return deps.claimRoom?.reserve(claim, { ...request, poolName, sizeBytes }, nodeNames);
}

function refuseUnshared(context: CsiContext, { capability, parameters }: Wanted): void {
  if (!isMultiNode(capability.accessMode)) return;
  const used = classOf(context.deps.view, parameters);
  if (!used?.spec.shared)
    throw new AzekuraError('InvalidArgument', 'volumes of this class can be used by one node at a time only', {
      next: 'choose the access mode ReadWriteOnce or ReadWriteOncePod',
    });
}

function readiness(volume: Volume | undefined): Volume | undefined {
  if (!volume) throw new AzekuraError('Aborted', 'the volume was deleted while it was made', { next: 'call again' });
  const { phase, volumeId, causes, sizeBytes } = volume.status;
  if (volumeId && sizeBytes > 0 && phase !== 'Pending' && phase !== 'Creating' && phase !== 'Failed') return volume;
  const failure = finalFailure(causes);
  if (failure) throw failure;
  return undefined;
}

function operationOf(name: string, sizeBytes: number, wanted: Wanted): Operation {
  const { parameters, capability, csiName } = wanted;
  const { className, engineKind, deviceClass, provisioning, poolName, claim, engine, mutable } = parameters;
  return {
    name,
    sizeBytes,
    mode: capability.access,
    ...(className ? { className } : {}),
    ...(engineKind ? { engine: engineKind } : {}),
    ...(deviceClass ? { deviceClass } : {}),
    ...(provisioning ? { provisioning } : {}),
    ...(wanted.filesystem ? { filesystem: wanted.filesystem } : {}),
    ...(poolName ? { poolName } : {}),
    ...encryptionOf(parameters),
    ...(claim ? { claim } : {}),
    ...(wanted.source ? { source: wanted.source.spec } : {}),
    ...(wanted.nodeNames ? { nodeNames: wanted.nodeNames } : {}),
    ...(mutable.recycleMs === undefined ? {} : { recycleMs: mutable.recycleMs }),
    ...(Object.keys(engine).length > 0 ? { parameters: engine } : {}),
    annotations: {
      [csiAnnotations.parameters]: wanted.parametersText,
      ...(csiName === name ? {} : { [csiAnnotations.name]: csiName }),
      ...(wanted.sourceText ? { [csiAnnotations.source]: wanted.sourceText } : {}),
    },
  };
}

/** Why the existing volume is not the one that is asked for; undefined when it is. */
function difference(volume: Volume, wanted: Wanted): string | undefined {
  const { metadata, spec } = volume;
  if ((metadata.annotations[csiAnnotations.name] ?? metadata.name) !== wanted.csiName) return 'it has another name';
  if (!withinBounds(spec.sizeBytes, wanted.bounds)) return `its size is ${spec.sizeBytes} bytes`;
  if (spec.mode !== wanted.capability.access) return `it is for ${spec.mode}`;
  if (wanted.filesystem && spec.policy.filesystem !== wanted.filesystem)
    return `its file system is ${spec.policy.filesystem}`;
  if (isMultiNode(wanted.capability.accessMode) && !spec.policy.shared) return 'only one node at a time can use it';
  const parameters = metadata.annotations[csiAnnotations.parameters];
  if (parameters !== undefined && parameters !== wanted.parametersText) return 'its parameters are others';
  if ((metadata.annotations[csiAnnotations.source] ?? '') !== wanted.sourceText)
    return 'it was made from something else';
  return misplaced(volume, wanted.nodeNames);
}

/** A volume that has no place yet is not misplaced. */
function misplaced(volume: Volume, admitted: readonly string[] | undefined): string | undefined {
  const nodes = nodesOf(volume);
  if (!admitted || nodes.length === 0 || nodes.some((node) => admitted.includes(node))) return undefined;
  return `it lies on node ${nodes.join(', ')}`;
}
