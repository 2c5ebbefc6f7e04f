import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, hasCode } from '../../model/errors.ts';
import type { Attachment } from '../../model/kinds.ts';
import type { AttachRequest, DetachResult } from '../operations.ts';
import { attachmentsNow, editAttachment, ensureAttachment, findAttachment, letGo, sameOptions } from './attachments.ts';
import type { OperationsContext } from './context.ts';
import { isPlaced, waitFor } from './settle.ts';
import { type NodePresence, nodePresence } from './silent-node.ts';

/** The use of a volume on a node step by step: Operations.attachVolume to detachVolume. */

export async function attachVolume(
  context: OperationsContext,
  name: string,
  request: AttachRequest,
): Promise<Attachment> {
  const volume = await waitFor(context, await context.needVolume(name), isPlaced);
  const { attachment, made } = await ensureAttachment(context, volume, request, { origin: 'publish', staged: false });
  if (made) return attachment;
  // From now on it goes by detachVolume, not with its staging.
  return editAttachment(context, attachment, (spec) => ({
    ...spec,
    origin: spec.origin === 'stage' ? 'publish' : spec.origin,
    observeRequestId: request.observeRequestId,
  }));
}

export async function stageVolume(
  context: OperationsContext,
  name: string,
  request: AttachRequest & { readonly stagingPath?: string },
): Promise<Attachment> {
  const volume = await waitFor(context, await context.needVolume(name), isPlaced);
  const { stagingPath, mountOptions, observeRequestId, nodeName } = request;
  const part = { origin: 'stage' as const, staged: true, ...(stagingPath === undefined ? {} : { stagingPath }) };
  const { attachment, made } = await ensureAttachment(context, volume, request, part);
  if (made) return attachment;
  const { spec } = attachment;
  if (spec.staged && (spec.stagingPath !== stagingPath || !sameOptions(spec.mountOptions, mountOptions)))
    throw new AzekuraError(
      'AlreadyExists',
      `volume ${name} is staged on node ${nodeName} at another path or with other mount options`,
      { next: 'unstage it first' },
    );
  return editAttachment(context, attachment, ({ stagingPath: _before, ...stored }) => ({
    ...stored,
    staged: true,
    mountOptions: [...mountOptions],
    observeRequestId,
    ...(stagingPath === undefined ? {} : { stagingPath }),
  }));
}

export async function publishPath(
  context: OperationsContext,
  name: string,
  request: {
    readonly nodeName: string;
    readonly path: string;
    readonly readOnly: boolean;
    readonly exclusive: boolean;
    readonly mountGroup?: number;
    readonly observeRequestId: string;
  },
): Promise<Attachment> {
  const { nodeName, path, readOnly, exclusive, mountGroup, observeRequestId } = request;
  const volume = await context.needVolume(name);
  const attachment = await findAttachment(context, volume, nodeName);
  if (!attachment?.spec.staged || attachment.metadata.deletionTimestamp)
    throw new AzekuraError('FailedPrecondition', `volume ${name} is not staged on node ${nodeName}`, {
      next: 'stage it first',
    });
  return editAttachment(context, attachment, (spec) => {
    const known = spec.published.find((one) => one.path === path);
    if (known && known.readOnly !== readOnly)
      throw new AzekuraError(
        'AlreadyExists',
        `volume ${name} is published at ${path} ${known.readOnly ? 'read-only' : 'for writing'}`,
        { next: 'unpublish it first' },
      );
    if (known && known.mountGroup !== mountGroup)
      throw new AzekuraError(
        'AlreadyExists',
        `volume ${name} is published at ${path} ${known.mountGroup === undefined ? 'without a group' : `for group ${known.mountGroup}`}`,
        { next: 'unpublish it first' },
      );
    const others = spec.published.filter((one) => one.path !== path);
    if (!known && exclusive && others.length > 0)
      throw blamed(
        'FailedPrecondition',
        makeCause('InUse', { what: `volume ${name}`, holder: others.map((one) => one.path).join(', ') }),
      );
    return {
      ...spec,
      observeRequestId,
      published: [...others, { path, readOnly, ...(mountGroup === undefined ? {} : { mountGroup }) }],
    };
  });
}

export async function unpublishPath(
  context: OperationsContext,
  name: string,
  request: { readonly nodeName: string; readonly path: string },
): Promise<Attachment | undefined> {
  const attachment = await present(context, name, request.nodeName);
  if (!attachment) return undefined;
  return editAttachment(context, attachment, (spec) => {
    const left = spec.published.filter((one) => one.path !== request.path);
    return left.length === spec.published.length ? undefined : { ...spec, published: left };
  });
}

export async function unstageVolume(
  context: OperationsContext,
  name: string,
  request: { readonly nodeName: string },
): Promise<Attachment | undefined> {
  const attachment = await present(context, name, request.nodeName);
  if (!attachment) return undefined;
  const { spec, metadata } = attachment;
  refusePublished(attachment);
  if (spec.origin !== 'stage')
    return editAttachment(context, attachment, ({ stagingPath: _before, ...stored }) => ({ ...stored, staged: false }));
  await context.deps.store.delete('Attachment', metadata.name, { uid: metadata.uid });
  return context.deps.store.find('Attachment', metadata.name);
}

export async function detachVolume(
  context: OperationsContext,
  name: string,
  { nodeName: only, volumeId }: { readonly nodeName?: string; readonly volumeId?: string },
): Promise<DetachResult> {
  const all =
    volumeId === undefined
      ? await attachmentsNow(context, await context.need('Volume', name))
      : (await context.deps.store.list('Attachment', { fields: { 'spec.volumeId': volumeId } })).items;
  const found = all.filter(({ spec }) => only === undefined || spec.nodeName === only);
  const attachments: { readonly attachment: Attachment; readonly presence: NodePresence }[] = [];
  for (const attachment of found) {
    const { nodeName } = attachment.spec;
    const presence = await nodePresence(context.deps, nodeName, nodeName === context.deps.nodeName);
    if (presence === 'live') refuseUsed(attachment);
    attachments.push({ attachment, presence });
  }
  for (const { attachment, presence } of attachments) {
    await detachSeen(context, attachment, presence === 'live');
    // Of a node that is no more, nobody else would ever let it go.
    if (presence === 'gone') await letGo(context, attachment);
  }
  return {
    unattended: attachments.flatMap(({ attachment, presence }) =>
      presence === 'live' ? [] : [attachment.metadata.name],
    ),
  };
}

/**
 * Deletes the attachment as it was seen: who stages it in the same moment is either seen, or comes too late.
 *
 * @param unused only while nobody uses it
 */
async function detachSeen(context: OperationsContext, seen: Attachment, unused: boolean): Promise<void> {
  const { store } = context.deps;
  const { name, uid } = seen.metadata;
  let attachment: Attachment | undefined = seen;
  while (attachment?.metadata.uid === uid && !attachment.metadata.deletionTimestamp) {
    if (unused) refuseUsed(attachment);
    try {
      await store.delete('Attachment', name, { uid, resourceVersion: attachment.metadata.resourceVersion });
      return;
    } catch (error) {
      if (!hasCode(error, 'Conflict')) throw error;
      attachment = await store.find('Attachment', name);
    }
  }
}

/** The attachment, unless it is on its way out. */
async function present(context: OperationsContext, name: string, nodeName: string): Promise<Attachment | undefined> {
  const attachment = await findAttachment(context, await context.need('Volume', name), nodeName);
  return attachment?.metadata.deletionTimestamp ? undefined : attachment;
}

function refuseUsed(attachment: Attachment): void {
  const { spec, metadata } = attachment;
  if (metadata.deletionTimestamp) return;
  refusePublished(attachment);
  if (spec.staged)
    throw blamed(
      'FailedPrecondition',
      makeCause('InUse', { what: `volume ${spec.volumeName}`, holder: `node ${spec.nodeName}, where it is staged` }),
    );
}

function refusePublished({ spec }: Attachment): void {
  if (spec.published.length === 0) return;
  const holder = `${spec.published.map((one) => one.path).join(', ')} on node ${spec.nodeName}`;
  throw blamed('FailedPrecondition', makeCause('InUse', { what: `volume ${spec.volumeName}`, holder }));
}
