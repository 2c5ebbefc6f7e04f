import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Attachment } from '../../model/kinds.ts';
import type { AttachRequest } from '../operations.ts';
import { attachmentsNow, editAttachment, ensureAttachment, findAttachment, sameOptions } from './attachments.ts';
import type { OperationsContext } from './context.ts';
import { isPlaced, waitFor } from './settle.ts';

/** The use of a volume on a node step by step: Operations.attachVolume to detachVolume. */

export async function attachVolume(
  context: OperationsContext,
  name: string,
  request: AttachRequest,
): Promise<Attachment> {
  const volume = await waitFor(context, await context.needVolume(name), isPlaced);
  const { attachment, made } = await ensureAttachment(context, volume, request, { origin: 'publish', staged: false });
  return made ? attachment : observe(context, attachment, request.observeRequestId);
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
    readonly observeRequestId: string;
  },
): Promise<Attachment> {
  const { nodeName, path, readOnly, exclusive, observeRequestId } = request;
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
    const others = spec.published.filter((one) => one.path !== path);
    if (!known && exclusive && others.length > 0)
      throw blamed(
        'FailedPrecondition',
        makeCause('InUse', { what: `volume ${name}`, holder: others.map((one) => one.path).join(', ') }),
      );
    return { ...spec, observeRequestId, published: [...others, { path, readOnly }] };
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
  request: { readonly nodeName?: string },
): Promise<void> {
  const volume = await context.need('Volume', name);
  const attachments = (await attachmentsNow(context, volume)).filter(
    (one) => request.nodeName === undefined || one.spec.nodeName === request.nodeName,
  );
  for (const attachment of attachments) {
    const { spec, metadata } = attachment;
    if (metadata.deletionTimestamp) continue;
    refusePublished(attachment);
    if (spec.staged && spec.origin === 'publish')
      throw blamed(
        'FailedPrecondition',
        makeCause('InUse', { what: `volume ${name}`, holder: `node ${spec.nodeName}, where it is staged` }),
      );
  }
  for (const { metadata } of attachments)
    if (!metadata.deletionTimestamp)
      await context.deps.store.delete('Attachment', metadata.name, { uid: metadata.uid });
}

/** Has the agent look again at what is really there. */
async function observe(
  context: OperationsContext,
  attachment: Attachment,
  observeRequestId: string,
): Promise<Attachment> {
  return editAttachment(context, attachment, (spec) => ({ ...spec, observeRequestId }));
}

/** The attachment, unless it is on its way out. */
async function present(context: OperationsContext, name: string, nodeName: string): Promise<Attachment | undefined> {
  const attachment = await findAttachment(context, await context.need('Volume', name), nodeName);
  return attachment?.metadata.deletionTimestamp ? undefined : attachment;
}

function refusePublished({ spec }: Attachment): void {
  if (spec.published.length === 0) return;
  const holder = `${spec.published.map((one) => one.path).join(', ')} on node ${spec.nodeName}`;
  throw blamed('FailedPrecondition', makeCause('InUse', { what: `volume ${spec.volumeName}`, holder }));
}
