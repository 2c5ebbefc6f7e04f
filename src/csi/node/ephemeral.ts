import type { NodePublishVolumeRequest } from '../../gen/csi/csi_pb.js';
import { parseQuantity } from '../../lib/quantity.ts';
import { AzekuraError, hasCode } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import type { Capability } from '../common/capability.ts';
import type { CsiContext } from '../common/context.ts';
import { finalFailure, stateSentence } from '../common/failure.ts';
import { csiAnnotations, objectName } from '../common/names.ts';
import { encryptionOf, parseParameters } from '../common/parameters.ts';
import { removeVolume } from '../controller/delete-volume.ts';
import type { Call } from '../grpc/call.ts';
import { stage, unstage, withKeys } from './stage.ts';

const ephemeralKey = 'csi.storage.k8s.io/ephemeral';
const defaultBytes = 1 << 30;

/** Whether the volume lives in the pod's specification only: then the node gets NodePublishVolume and nothing before. */
export function isInline(request: NodePublishVolumeRequest): boolean {
  return request.volumeContext[ephemeralKey] === 'true';
}

/**
 * Makes the inline volume on this node, attaches it and mounts it at a place of the agent's choice. Attributes are those
 * of a StorageClass, and `size`.
 *
 * @throws AzekuraError InvalidArgument, ResourceExhausted (then nothing of it is left), DeadlineExceeded
 */
export async function provideInline(
  context: CsiContext,
  request: NodePublishVolumeRequest,
  capability: Capability,
  call: Call,
): Promise<Volume> {
  const { store, operations, nodeName } = context.deps;
  const { size, ...attributes } = request.volumeContext;
  const parameters = parseParameters(attributes, {});
  const { className, provisioning, filesystem, poolName, engine } = parameters;
  const chosen = capability.filesystem ?? filesystem;
  const name = objectName(request.volumeId);
  const existing = await store.find('Volume', name);
  if (existing && existing.metadata.annotations[csiAnnotations.ephemeral] !== request.volumeId)
    throw new AzekuraError('AlreadyExists', `volume ${name} exists and is not this inline volume`);
  const created =
    existing ??
    (
      await operations.as(call).createVolume({
        name,
        sizeBytes: sizeOf(size),
        mode: capability.access,
        ...(className ? { className } : {}),
        ...(provisioning ? { provisioning } : {}),
        ...(chosen && capability.access === 'filesystem' ? { filesystem: chosen } : {}),
        ...(poolName ? { poolName } : {}),
        ...encryptionOf(parameters),
        ...(Object.keys(engine).length > 0 ? { parameters: engine } : {}),
        nodeNames: [nodeName],
        recycleMs: 0,
        annotations: { [csiAnnotations.ephemeral]: request.volumeId },
      })
    ).volume;
  try {
    const volume = await context.volumes.until(name, call, {
      since: created,
      look: (object) => {
        if (!object)
          throw new AzekuraError('Aborted', 'the volume was deleted while it was made', { next: 'call again' });
        if (object.status.phase === 'Ready') return object;
        const failure = finalFailure(object.status.causes);
        if (failure) throw failure;
        return undefined;
      },
      describe: (object) => stateSentence(`volume ${name}`, object),
    });
    await withKeys(context, volume, request.secrets, () => stage(context, volume, capability, undefined, call));
    return volume;
  } catch (error) {
    if (hasCode(error, 'ResourceExhausted')) await removeInline(context, created, call);
    throw error;
  }
}

/** Takes an inline volume down and deletes it, past the recycle bin: its pod is gone, nobody can ask for it again. */
export async function removeInline(context: CsiContext, volume: Volume, call: Call): Promise<void> {
  const attachment = await context.findAttachment(volume, context.deps.nodeName);
  if (attachment && attachment.spec.published.length > 0) return;
  if (attachment) await unstage(context, volume, attachment, call);
  await removeVolume(context, volume, call, { skipRecycleBin: true });
}

function sizeOf(text: string | undefined): number {
  if (text === undefined) return defaultBytes;
  const parsed = parseQuantity(text);
  if (!parsed.ok)
    throw new AzekuraError('InvalidArgument', `attribute "size" ${parsed.problem}`, { next: 'write for example 10Gi' });
  return parsed.bytes;
}
