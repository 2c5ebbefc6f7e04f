import type { AttachedDevice, VolumeObservation, VolumeRef } from '../../engines/contract.ts';
import type { FilesystemStat } from '../../host/kernel.ts';
import { type AttachmentStatus, filesystemGrownToBytes, grownToDetail } from '../../model/attachment.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { blamed, toAzekuraError } from '../../model/errors.ts';
import type { Attachment, Replica } from '../../model/kinds.ts';
import type { Layer } from '../../model/layer.ts';
import { finalizers, requestIdOf } from '../../model/names.ts';
import { keyComesWithStaging } from '../../model/policy.ts';
import { change, changeStatus } from '../../store/change.ts';
import { causeOfError, withSince } from '../causes.ts';
import type { AgentContext } from '../context.ts';
import { growMounted } from '../filesystem/growth.ts';
import { readRecord } from '../filesystem/record.ts';
import { observeAttachment, stagingPathOf } from './attachment-observe.ts';
import { type AttachmentStep, planAttachment, type SeenAttachment } from './attachment-plan.ts';
import { type AttachmentWork, forgetRecord, takeStep } from './attachment-steps.ts';
import { takeOverDevice } from './take-over.ts';

/**
 * Converges the attachment of a volume on this node.
 *
 * @param replica the copy whose device is to be used; undefined when there is none here
 * @param options.hold keeps it detached for now: a restore or repair is due first
 * @param options.seen what the same look has shown of the replica a moment ago
 * @param options.glance where its device is, as just seen
 * @returns it as it is stored afterwards; undefined when it is gone, or held
 * @throws AzekuraError after the cause has been written to the attachment
 */
export async function reconcileAttachment(
  context: AgentContext,
  attachment: Attachment,
  replica: Replica | undefined,
  options: {
    readonly hold?: boolean;
    readonly seen?: VolumeObservation | undefined;
    readonly glance?: DeviceGlance;
  } = {},
): Promise<Attachment | undefined> {
  try {
    const leaving = attachment.metadata.deletionTimestamp !== undefined;
    if (options.hold && !leaving) return undefined;
    const swapped = !leaving && (await takeOverDevice(context, attachment, replica));
    const converged = await converge(
      context,
      attachment,
      replica,
      leaving,
      swapped ? undefined : (options.glance ?? glanceOf(options.seen)),
    );
    await context.tasks.settle(attachment.metadata.uid, 'Succeeded');
    if (!leaving) return await writeStatus(context, attachment, converged);
    await letGo(context, attachment);
    return undefined;
  } catch (error) {
    const cause = causeOfError(error, { step: 'agent.attach' });
    await writeStatus(context, attachment, {
      ...(await whatIsThere(context, attachment, replica)),
      phase: attachment.metadata.deletionTimestamp
        ? 'Detaching'
        : attachment.status.phase === 'Attached'
          ? 'Attached'
          : 'Failed',
      causes: [cause],
    });
    throw error;
  }
}

/** What a look at the volume has shown of its device. */
interface DeviceGlance {
  readonly device: AttachedDevice | undefined;
}

function glanceOf(seen: VolumeObservation | undefined): DeviceGlance | undefined {
  return seen && { device: seen.attached };
}

async function converge(
  context: AgentContext,
  attachment: Attachment,
  replica: Replica | undefined,
  leaving: boolean,
  observed: DeviceGlance | undefined,
): Promise<Partial<AttachmentStatus>> {
  const { volumeId } = attachment.spec;
  const record = readRecord(context, volumeId);
  const here = await observeDevice(context, attachment, replica, observed);
  // What works is not taken down because its pool cannot be looked at just now.
  if (here.problem && !leaving) throw here.problem;
  const mounts = await context.deps.host.mounts();
  const seen = await observeAttachment(context, attachment, here.device, record, mounts);
  const madeWhenStaged = replica !== undefined && keyComesWithStaging(replica.spec.policy);
  const plan = planAttachment({ ...attachment.spec, attached: !leaving, madeWhenStaged }, seen);
  const growTo = leaving ? undefined : growthDue(attachment, replica);
  const work: Omit<AttachmentWork, 'steps' | 'engine' | 'mounts'> = {
    context,
    attachment,
    replica,
    volume: here.volume,
    device: here.device,
    attachedBefore: here.device !== undefined && !here.device.partial,
    record,
    causes: [...(here.device?.causes ?? [])],
  };
  const recorded = record.stagingPath !== undefined || record.publications.length > 0;
  const kept = keptLayer(attachment);
  if (plan.length === 0 && growTo === undefined && !(leaving && recorded)) {
    if (here.problem) throw here.problem;
    return leaving ? {} : statusOf(context, attachment, seen, here.device, work.causes, { filesystem: kept });
  }
  return context.tasks.run(
    {
      verb: verbOf(plan, leaving),
      subject: { kind: 'Volume', name: attachment.spec.volumeName, uid: attachment.spec.volumeUid },
      objectUid: attachment.metadata.uid,
      round: `${attachment.metadata.generation}${leaving ? '/leave' : ''}`,
      ...requestIdOf(attachment),
    },
    async ({ steps }) => {
      const engine = replica ? context.engineOf(replica, steps) : context.engine('file', steps);
      const running: AttachmentWork = { ...work, steps, engine, mounts };
      for (const step of plan) {
        await takeStep(running, step);
        // A device changes nothing in the mount table, everything else does.
        if (step.do !== 'attach') running.mounts = undefined;
      }
      if (here.problem) throw here.problem;
      if (leaving) {
        await forgetRecord(running);
        return {};
      }
      const layer = await grow(running, growTo);
      const mountsNow = await context.deps.host.mounts();
      const after = await observeAttachment(context, attachment, running.device, running.record, mountsNow);
      return statusOf(context, attachment, after, running.device, running.causes, {
        filesystem: layer ?? kept,
        space: running.space,
        measure: layer !== undefined,
      });
    },
  );
}

/** What a step that failed has left: paths that are no longer shown must not be said to be. */
async function whatIsThere(
  context: AgentContext,
  attachment: Attachment,
  replica: Replica | undefined,
): Promise<Partial<AttachmentStatus>> {
  try {
    const { device, problem } = await observeDevice(context, attachment, replica, undefined);
    // A device that cannot be asked for is no device that is gone.
    if (problem) return {};
    const record = readRecord(context, attachment.spec.volumeId);
    const seen = await observeAttachment(context, attachment, device, record, await context.deps.host.mounts());
    const published = [...seen.publications].flatMap(([path, { state }]) => (state === 'ours' ? [path] : []));
    return {
      published,
      devicePath: device?.partial ? undefined : device?.device,
      stagingPath: seen.staging === 'ours' ? (record.stagingPath ?? stagingPathOf(context, attachment)) : undefined,
    };
  } catch (err) {
    context.deps.log.debug({ err, volumeId: attachment.spec.volumeId }, 'what is left cannot be seen');
    return {};
  }
}

interface Here {
  readonly volume?: VolumeRef;
  readonly device?: AttachedDevice | undefined;
  /** Why the engine could not be asked. */
  readonly problem?: Error;
}

async function observeDevice(
  context: AgentContext,
  attachment: Attachment,
  replica: Replica | undefined,
  observed: DeviceGlance | undefined,
): Promise<Here> {
  if (!replica) {
    if (attachment.metadata.deletionTimestamp) return {};
    const { volumeName, nodeName } = attachment.spec;
    const path = `it has no copy on node ${nodeName}`;
    return { problem: blamed('FailedPrecondition', makeCause('BackingMissing', { volume: volumeName, path })) };
  }
  try {
    const volume = context.volumeRef(replica);
    if (observed) return { volume, device: observed.device };
    const seen = await context.engineOf(replica).volumes.observe(volume);
    return { volume, device: seen.attached };
  } catch (error) {
    return { problem: toAzekuraError(error) };
  }
}

function verbOf(plan: readonly AttachmentStep[], leaving: boolean): string {
  if (leaving) return 'DetachVolume';
  if (plan.length === 0) return 'GrowFilesystem';
  return plan.some((step) => step.do === 'attach' || step.do === 'stage') ? 'AttachVolume' : 'PublishVolume';
}

function keptLayer(attachment: Attachment): Layer | undefined {
  return attachment.status.layers.find((layer) => layer.kind === 'filesystem');
}

function growthDue(attachment: Attachment, replica: Replica | undefined): number | undefined {
  const { access, readOnly, staged } = attachment.spec;
  if (!replica || access === 'block' || readOnly || !staged) return undefined;
  return replica.status.sizeBytes > filesystemGrownToBytes(attachment.status) ? replica.status.sizeBytes : undefined;
}

/** @returns the file system as a layer, when it was mounted or grown just now */
async function grow(work: AttachmentWork, toBytes: number | undefined): Promise<Layer | undefined> {
  const { context, attachment, replica, staged } = work;
  const { volumeId, volumeName, readOnly } = attachment.spec;
  if (!replica || (toBytes === undefined && !staged)) return undefined;
  const target = stagingPathOf(context, attachment);
  const filesystem = staged?.filesystem ?? (keptLayer(attachment)?.name === 'ext4' ? 'ext4' : 'xfs');
  const bytes = replica.status.sizeBytes;
  const fits = staged !== undefined && staged.sizeBytes >= bytes;
  const blocked = work.causes.some((cause) => cause.code === 'FilesystemGrowthBlocked');
  if (!fits && !blocked && !readOnly) {
    work.space = undefined;
    work.causes.push(
      ...(await growMounted(context, work.steps, { volumeId, volumeName, mountPoint: target, filesystem })),
    );
  }
  return { kind: 'filesystem', name: filesystem, target, details: { [grownToDetail]: String(bytes) } };
}

async function statusOf(
  context: AgentContext,
  attachment: Attachment,
  seen: SeenAttachment,
  device: AttachedDevice | undefined,
  causes: readonly Cause[],
  figures: {
    readonly filesystem: Layer | undefined;
    /** Room in the file system, when it has just been read. */
    readonly space?: FilesystemStat | undefined;
    /** Whether it may have changed. */
    readonly measure?: boolean;
  },
): Promise<Partial<AttachmentStatus>> {
  const { filesystem, space: known, measure = false } = figures;
  const published = attachment.spec.published
    .map((one) => one.path)
    .filter((path) => seen.publications.get(path)?.state === 'ours');
  const mounted = attachment.spec.access === 'filesystem' && attachment.spec.staged;
  const stagingPath = mounted ? stagingPathOf(context, attachment) : undefined;
  // Later figures are those of usage.ts.
  const unknown = measure || attachment.status.filesystemBytes === undefined;
  const space =
    known ??
    (stagingPath && unknown ? await context.volumeKernel(attachment.spec.volumeId).statfs(stagingPath) : undefined);
  // A growth that had to wait is over when the file system has been mounted anew; nothing else tells.
  const waiting = attachment.status.causes.filter(
    (cause) => cause.code === 'FilesystemGrowthBlocked' && filesystem === keptLayer(attachment),
  );
  return {
    phase: 'Attached',
    devicePath: device?.partial ? undefined : device?.device,
    stagingPath,
    published,
    layers: [
      ...(device?.layers ?? []),
      ...(mounted && filesystem ? [filesystem] : []),
      ...published.map((path) => ({ kind: 'bind' as const, name: path, target: path, details: {} })),
    ],
    ...(space ? { filesystemBytes: space.sizeBytes, filesystemUsedBytes: space.sizeBytes - space.freeBytes } : {}),
    causes: [...causes, ...waiting],
  };
}

async function writeStatus(
  context: AgentContext,
  attachment: Attachment,
  status: Partial<AttachmentStatus>,
): Promise<Attachment | undefined> {
  return changeStatus(context.deps.store, 'Attachment', attachment.metadata.name, (stored) => ({
    ...status,
    observedGeneration: attachment.metadata.generation,
    causes: withSince(status.causes ?? [], stored.status.causes, context.now),
  }));
}

async function letGo(context: AgentContext, attachment: Attachment): Promise<void> {
  await change(context.deps.store, 'Attachment', attachment.metadata.name, ({ metadata }) =>
    metadata.uid === attachment.metadata.uid
      ? { metadata: { finalizers: metadata.finalizers.filter((name) => name !== finalizers.agent) } }
      : undefined,
  );
}
