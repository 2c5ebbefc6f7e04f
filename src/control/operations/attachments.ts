import { isDeepStrictEqual } from 'node:util';
import type { AttachmentSpec } from '../../model/attachment.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, hasCode } from '../../model/errors.ts';
import type { Attachment, Volume } from '../../model/kinds.ts';
import { attachmentName, finalizers } from '../../model/names.ts';
import { change } from '../../store/change.ts';
import type { AttachRequest } from '../operations.ts';
import type { OperationsContext } from './context.ts';
import { checkMountOptions } from './validate.ts';

/** All attachments of a volume as they are stored now: also those that were made a moment ago. */
export async function attachmentsNow(
  { deps, view }: OperationsContext,
  volume: Volume,
): Promise<readonly Attachment[]> {
  const { volumeId, replicas, attachedTo } = volume.status;
  if (volumeId === undefined) return [];
  const names = new Set(view.attachmentsOf(volumeId).map(({ metadata }) => metadata.name));
  for (const node of [deps.nodeName, ...attachedTo, ...replicas.map((replica) => replica.nodeName)])
    names.add(attachmentName(volumeId, node));
  const found = await Promise.all([...names].map((name) => deps.store.find('Attachment', name)));
  return found.flatMap((attachment) => attachment ?? []);
}

/** The id of a volume that has its place. @throws AzekuraError FailedPrecondition with what keeps it */
function placedId(volume: Volume): string {
  const { volumeId, causes, replicas } = volume.status;
  if (volumeId !== undefined && replicas.length > 0) return volumeId;
  const [cause] = causes;
  if (cause) throw blamed('FailedPrecondition', cause);
  throw blamed('FailedPrecondition', makeCause('SourceNotReady', { source: `volume ${volume.metadata.name}` }));
}

/** The attachment of a volume on a node, as it is stored now. */
export async function findAttachment(
  context: OperationsContext,
  volume: Volume,
  nodeName: string,
): Promise<Attachment | undefined> {
  const { volumeId } = volume.status;
  return volumeId === undefined ? undefined : context.deps.store.find('Attachment', attachmentName(volumeId, nodeName));
}

/**
 * Makes the attachment of a volume on a node, or hands over the one that is there.
 *
 * @throws AzekuraError see Operations.attachVolume
 */
export async function ensureAttachment(
  context: OperationsContext,
  volume: Volume,
  request: AttachRequest,
  part: Partial<AttachmentSpec>,
): Promise<{ readonly attachment: Attachment; readonly made: boolean }> {
  const { deps } = context;
  const volumeId = placedId(volume);
  const node = await context.need('Node', request.nodeName);
  checkAccess(volume, request);
  const present = await attachmentsNow(context, volume);
  const here = present.find((one) => one.spec.nodeName === request.nodeName);
  if (here?.metadata.deletionTimestamp) {
    if (isKeptByPods(here) && !differs(here, request) && (await letGo(context, here)))
      return ensureAttachment(context, volume, request, part);
    throw new AzekuraError(
      'Aborted',
      `volume ${volume.metadata.name} is just being detached from node ${request.nodeName}`,
      { next: 'try again in a moment' },
    );
  }
  if (here) {
    refuseOtherUse(here, request);
    return { attachment: here, made: false };
  }
  refuseElsewhere(volume, present, request.nodeName);
  refuseTooMany(context, node.metadata.name, request.maxPerNode);
  try {
    const attachment = await deps.store.create({
      kind: 'Attachment',
      metadata: { name: attachmentName(volumeId, request.nodeName), finalizers: [finalizers.agent] },
      spec: {
        volumeName: volume.metadata.name,
        volumeUid: volume.metadata.uid,
        volumeId,
        nodeName: request.nodeName,
        access: request.access,
        readOnly: request.readOnly,
        mountOptions: [...request.mountOptions],
        observeRequestId: request.observeRequestId,
        ...(request.accessMode ? { accessMode: request.accessMode } : {}),
        ...part,
      },
    });
    return { attachment, made: true };
  } catch (error) {
    if (hasCode(error, 'AlreadyExists')) return ensureAttachment(context, volume, request, part);
    throw error;
  }
}

/** Changes an attachment; undefined leaves it as it is. @throws AzekuraError Aborted when it is being detached */
export async function editAttachment(
  context: OperationsContext,
  attachment: Attachment,
  edit: (spec: AttachmentSpec) => AttachmentSpec | undefined,
): Promise<Attachment> {
  const { volumeName, nodeName } = attachment.spec;
  const changed = await change(context.deps.store, 'Attachment', attachment.metadata.name, (stored) => {
    if (stored.metadata.deletionTimestamp)
      throw new AzekuraError('Aborted', `volume ${volumeName} is just being detached from node ${nodeName}`, {
        next: 'try again in a moment',
      });
    const spec = edit(stored.spec);
    return spec && { spec };
  });
  if (changed) return changed;
  throw new AzekuraError('Aborted', `volume ${volumeName} has been detached from node ${nodeName} meanwhile`, {
    next: 'try again',
  });
}

function checkAccess(volume: Volume, { access, mountOptions }: AttachRequest): void {
  const { name } = volume.metadata;
  const { mode, policy } = volume.spec;
  if (access !== mode)
    throw new AzekuraError(
      'InvalidArgument',
      mode === 'block'
        ? `volume ${name} is a raw block volume and is not mounted as a file system`
        : `volume ${name} has a file system and is not used as a raw block device`,
      { next: 'ask for the access that the volume was made for' },
    );
  if (mode === 'block' && mountOptions.length > 0)
    throw new AzekuraError('InvalidArgument', 'a raw block volume has no mount options', { next: 'leave them out' });
  if (mode === 'filesystem') checkMountOptions(policy.filesystem, mountOptions);
}

/**
 * Whether the node keeps the attachment from being taken down, since the kubelet still has the volume staged. When a pod
 * there wants it again, the kubelet does not unstage it before the volume is attached, and so the deletion would never end.
 */
function isKeptByPods({ status }: Attachment): boolean {
  return status.causes.some(({ code }) => code === 'DeletedInUse');
}

/**
 * Lets an attachment that is being deleted go without its node.
 *
 * @returns whether it was there, and is gone by that
 */
export async function letGo({ deps }: OperationsContext, { metadata }: Attachment): Promise<boolean> {
  const left = await change(deps.store, 'Attachment', metadata.name, (stored) =>
    stored.metadata.uid === metadata.uid && stored.metadata.deletionTimestamp
      ? { metadata: { finalizers: stored.metadata.finalizers.filter((one) => one !== finalizers.agent) } }
      : undefined,
  );
  return left?.metadata.finalizers.length === 0;
}

function differs({ spec }: Attachment, request: AttachRequest): boolean {
  return (
    spec.access !== request.access ||
    spec.readOnly !== request.readOnly ||
    (request.accessMode !== undefined && spec.accessMode !== undefined && spec.accessMode !== request.accessMode)
  );
}

function refuseOtherUse(attachment: Attachment, request: AttachRequest): void {
  if (!differs(attachment, request)) return;
  const { spec } = attachment;
  throw new AzekuraError(
    'AlreadyExists',
    `volume ${spec.volumeName} is attached to node ${spec.nodeName} in another way${spec.readOnly ? ', read-only' : ''}`,
    { next: 'detach it first' },
  );
}

function refuseElsewhere(volume: Volume, present: readonly Attachment[], nodeName: string): void {
  const elsewhere = present.find((one) => one.spec.nodeName !== nodeName);
  if (elsewhere && !volume.spec.policy.shared) {
    const what = `volume ${volume.metadata.name}`;
    throw blamed('FailedPrecondition', makeCause('InUse', { what, holder: `node ${elsewhere.spec.nodeName}` }), {
      details: { node: elsewhere.spec.nodeName },
    });
  }
}

function refuseTooMany({ view }: OperationsContext, nodeName: string, most: number | undefined): void {
  if (most === undefined) return;
  const count = view.attachments.list().filter((one) => one.spec.nodeName === nodeName).length;
  if (count >= most)
    throw new AzekuraError('ResourceExhausted', `node ${nodeName} has ${count} volumes attached, as many as it may`, {
      next: 'detach one, or use another node',
    });
}

/** Whether two lists of mount options say the same, whatever their order. */
export function sameOptions(one: readonly string[], other: readonly string[]): boolean {
  return isDeepStrictEqual([...one].sort(), [...other].sort());
}
