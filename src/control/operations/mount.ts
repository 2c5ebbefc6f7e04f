import { newUid } from '../../lib/id.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Volume } from '../../model/kinds.ts';
import { editAttachment, ensureAttachment, findAttachment } from './attachments.ts';
import type { OperationsContext } from './context.ts';
import { isPlaced, waitFor } from './settle.ts';

/** See Operations.mountVolume. */
export async function mountVolume(
  context: OperationsContext,
  name: string,
  options: { readonly path: string; readonly readOnly?: boolean; readonly mountOptions?: readonly string[] },
): Promise<Volume> {
  const volume = await waitFor(context, await context.needVolume(name), isPlaced);
  const { path, readOnly = false, mountOptions = [] } = options;
  const nodeName = nodeOf(context, volume);
  const publication = { path, readOnly };
  const existing = await findAttachment(context, volume, nodeName);
  if (
    existing?.spec.published.some((one) => one.path === path && one.readOnly === readOnly) &&
    !existing.metadata.deletionTimestamp
  ) {
    // The status may be from before a reboot: only a look of the agent at what really is mounted answers the request.
    await editAttachment(context, existing, (spec) => ({ ...spec, observeRequestId: newUid() }));
    return volume;
  }
  await refuseTaken(context, volume, path, nodeName);
  const side = context.deps.node(nodeName);
  if (!side)
    throw new AzekuraError('Unavailable', `node ${nodeName} cannot be reached from here`, {
      next: `mount the volume on node ${nodeName} itself`,
    });
  await side.checkMountPoint(path, volume.spec.mode, volume.status.volumeId ?? '');
  const { attachment, made } = await ensureAttachment(
    context,
    volume,
    {
      nodeName,
      access: volume.spec.mode,
      readOnly: existing?.spec.readOnly ?? readOnly,
      mountOptions,
      observeRequestId: newUid(),
    },
    { origin: 'mount', staged: true, published: [publication] },
  );
  if (attachment.spec.readOnly && !readOnly)
    throw new AzekuraError('FailedPrecondition', `volume ${name} is attached read-only`, {
      next: 'unmount it everywhere first, or mount it read-only',
    });
  if (!made)
    await editAttachment(context, attachment, (spec) => ({
      ...spec,
      staged: true,
      published: [...spec.published.filter((one) => one.path !== path), publication],
    }));
  return volume;
}

/** See Operations.unmountVolume. */
export async function unmountVolume(
  context: OperationsContext,
  name: string,
  path: string | undefined,
): Promise<Volume> {
  const volume = await context.need('Volume', name);
  const attachment = await findAttachment(context, volume, nodeOf(context, volume));
  if (!attachment || attachment.metadata.deletionTimestamp) return volume;
  const { spec } = attachment;
  const left = path === undefined ? [] : spec.published.filter((one) => one.path !== path);
  if (path !== undefined && left.length === spec.published.length) return volume;
  // What Kubernetes attached, Kubernetes detaches.
  if (spec.origin !== 'mount')
    throw blamed(
      'FailedPrecondition',
      makeCause('InUse', { what: `volume ${name}`, holder: `Kubernetes on node ${spec.nodeName}` }),
    );
  if (left.length === 0)
    await context.deps.store.delete('Attachment', attachment.metadata.name, { uid: attachment.metadata.uid });
  else
    await editAttachment(context, attachment, (stored) => ({
      ...stored,
      published: stored.published.filter((one) => one.path !== path),
    }));
  return volume;
}

/** A local volume is mounted where its data is. */
function nodeOf({ deps }: OperationsContext, volume: Volume): string {
  const nodes = volume.status.replicas.map((replica) => replica.nodeName);
  return nodes.includes(deps.nodeName) ? deps.nodeName : (nodes[0] ?? deps.nodeName);
}

/** Two volumes at one path would hide each other. */
async function refuseTaken({ view }: OperationsContext, volume: Volume, path: string, nodeName: string): Promise<void> {
  const other = view.attachments
    .list()
    .find(
      (one) =>
        one.spec.nodeName === nodeName &&
        one.spec.volumeUid !== volume.metadata.uid &&
        one.spec.published.some((place) => place.path === path),
    );
  if (other)
    throw blamed(
      'FailedPrecondition',
      makeCause('MountPointBusy', { path, problem: `volume ${other.spec.volumeName} is mounted there` }),
    );
}
