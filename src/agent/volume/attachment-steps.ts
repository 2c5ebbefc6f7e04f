import type { AttachedDevice, Engine, VolumeRef } from '../../engines/contract.ts';
import type { MountEntry } from '../../host/host.ts';
import type { FilesystemStat } from '../../host/kernel.ts';
import type { Steps } from '../../lib/steps.ts';
import { type Cause, makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed, hasCode, toAzekuraError } from '../../model/errors.ts';
import type { Attachment, Replica } from '../../model/kinds.ts';
import type { AgentContext } from '../context.ts';
import { formatBlank } from '../filesystem/make.ts';
import { giveToGroup } from '../filesystem/mount-group.ts';
import { checkFree, checkPath } from '../filesystem/mount-point.ts';
import { type MountRecord, writeRecord } from '../filesystem/record.ts';
import { type Staged, stage } from '../filesystem/stage.ts';
import { poolIsShort } from '../pool/room.ts';
import { stagingPathOf } from './attachment-observe.ts';
import type { AttachmentStep } from './attachment-plan.ts';

/** One operation on an attachment: what its steps share. */
export interface AttachmentWork {
  readonly context: AgentContext;
  readonly steps: Steps;
  readonly engine: Engine;
  readonly attachment: Attachment;
  /** Undefined when the data is not to be had: then everything can only be taken down. */
  readonly replica: Replica | undefined;
  readonly volume: VolumeRef | undefined;
  device: AttachedDevice | undefined;
  /** Whether the device was there already when the operation began. */
  readonly attachedBefore: boolean;
  record: MountRecord;
  /** The mount table as the plan was made from it, until a step has changed it. */
  mounts: readonly MountEntry[] | undefined;
  /** Set when the operation has mounted the file system. */
  staged?: Staged;
  /** Room in the file system as the operation has read it last. */
  space?: FilesystemStat | undefined;
  readonly causes: Cause[];
}

/** Takes one step of the plan. Each may be repeated after a crash. */
export async function takeStep(work: AttachmentWork, step: AttachmentStep): Promise<void> {
  switch (step.do) {
    case 'unpublish':
      return unpublish(work, step.path, step.mounted);
    case 'unstage':
      return unstage(work);
    case 'detach':
      return detach(work);
    case 'attach':
      return attach(work);
    case 'stage':
      return stageVolume(work);
    case 'publish':
      return publish(work, step);
  }
}

/** Forgets the staging path when everything is down. */
export async function forgetRecord(work: AttachmentWork): Promise<void> {
  const { context, attachment } = work;
  if (work.record.stagingPath === undefined && work.record.publications.length === 0) return;
  await work.steps.run('agent.mount.forget', async () =>
    writeRecord(context, attachment.spec.volumeId, { version: 1, publications: [] }),
  );
}

async function attach(work: AttachmentWork): Promise<void> {
  const { engine, attachment } = work;
  const volume = needVolume(work);
  const { readOnly, access, staged } = attachment.spec;
  work.device = await work.steps.run('agent.attach.device', () =>
    engine.volumes.attach(volume, { readOnly, probe: staged && access === 'filesystem' }),
  );
}

async function detach(work: AttachmentWork): Promise<void> {
  const volume = needVolume(work);
  await work.steps.run('agent.detach.device', () => work.engine.volumes.detach(volume));
  work.device = undefined;
}

async function stageVolume(work: AttachmentWork): Promise<void> {
  const { context, attachment, device, replica, steps } = work;
  if (!device || !replica) throw new AzekuraError('Internal', 'a volume is staged after it is attached');
  const target = stagingPathOf(context, attachment);
  if (work.record.stagingPath !== target) {
    if (attachment.spec.stagingPath !== undefined) await checkFree(context, target, 'filesystem', work.mounts);
    await steps.run('agent.mount.record', () => saveRecord(work, { ...work.record, stagingPath: target }));
  }
  const { spec } = replica;
  if (device.blank) await format(work, device, replica);
  work.staged = await stage(context, steps, {
    volumeId: spec.volumeId,
    volumeName: spec.volumeName,
    device: device.device,
    found: work.device?.found,
    deviceBytes: spec.sizeBytes,
    target,
    readOnly: attachment.spec.readOnly,
    options: [...spec.policy.mountOptions, ...attachment.spec.mountOptions],
    clone: spec.source?.kind === 'snapshot' || spec.source?.kind === 'replica',
    poolShort: poolIsShort(context, spec.poolName),
  });
  work.space = work.staged.space;
  work.causes.push(...work.staged.causes);
  if (work.attachedBefore) await letWrite(work, target);
}

async function format(work: AttachmentWork, device: AttachedDevice, { spec }: Replica): Promise<void> {
  const { context, attachment, engine, steps } = work;
  const volume = needVolume(work);
  await formatBlank(context, steps, {
    volumeId: spec.volumeId,
    volumeName: spec.volumeName,
    device: device.device,
    readOnly: attachment.spec.readOnly,
    filesystem: spec.policy.filesystem,
    content:
      spec.policy.encryption !== 'none' ? 'noise' : spec.policy.provisioning === 'thin' ? 'discardable' : 'remains',
    markFormatted: async () => engine.volumes.markFormatted?.(volume),
  });
  const { blank: _, found: _before, ...formatted } = device;
  work.device = formatted;
}

async function unstage(work: AttachmentWork): Promise<void> {
  const { context, attachment, steps } = work;
  const target = work.record.stagingPath ?? stagingPathOf(context, attachment);
  await steps.run('agent.mount.unstage', async () => {
    try {
      await unmountAndRemove(work, target, [target], { thaw: true });
    } catch (error) {
      if (toAzekuraError(error).blame?.code !== 'HungCall') throw error;
      // What hangs may wait for the thaw: that goes beside it.
      await letWrite(work, target);
      throw error;
    }
  });
}

/**
 * Thaws a file system that somebody has left frozen. Unmounting a frozen one succeeds, but the kernel keeps it, and with
 * it the device, without a mount through which it could ever be thawed (freeze_super() holds a reference of its own);
 * mounted again, it comes back frozen.
 */
async function letWrite(work: AttachmentWork, target: string): Promise<void> {
  const { context, attachment, steps } = work;
  const { volumeId } = attachment.spec;
  const kernel = context.deps.host.kernel(`thaw/${volumeId}`);
  const { wasFrozen } = await steps.run('agent.mount.thaw', () => kernel.thaw(target));
  if (wasFrozen) warnOfThaw(work, target);
}

function warnOfThaw({ context, attachment }: AttachmentWork, target: string): void {
  const { volumeId } = attachment.spec;
  context.deps.log.warn({ volumeId, target }, 'thawed a file system that was left frozen');
}

async function publish(work: AttachmentWork, step: Extract<AttachmentStep, { do: 'publish' }>): Promise<void> {
  const { context, attachment, device, steps } = work;
  const { path, readOnly, mountGroup } = step;
  const { access, volumeId } = attachment.spec;
  if (!device) throw new AzekuraError('Internal', 'a volume is published after it is attached');
  checkPath(path, context.deps.dataDir);
  const known = work.record.publications.some((publication) => publication.path === path);
  const created = await checkFree(context, path, access, work.mounts);
  if (!known) {
    await steps.run('agent.publish.record', () =>
      saveRecord(work, {
        ...work.record,
        publications: [...work.record.publications, { path, created: [...created] }],
      }),
    );
  }
  const source = access === 'block' ? device.device : stagingPathOf(context, attachment);
  if (mountGroup !== undefined)
    await steps.run('agent.publish.group', () => giveToGroup(context, volumeId, source, mountGroup));
  await steps.run('agent.publish.bind', () =>
    context.volumeKernel(volumeId).batch([
      { call: 'makeMountPoint', args: [path, access === 'block' ? 'file' : 'directory'] },
      { call: 'bindMount', args: [source, path, { readOnly }] },
    ]),
  );
}

async function unpublish(work: AttachmentWork, path: string, mounted: boolean): Promise<void> {
  const { steps } = work;
  const publication = work.record.publications.find((one) => one.path === path);
  const made = publication?.created.toReversed() ?? [];
  if (mounted || made.length > 0)
    await steps.run('agent.unpublish.unbind', () => unmountAndRemove(work, mounted ? path : undefined, made));
  if (!publication) return;
  await steps.run('agent.unpublish.forget', () =>
    saveRecord(work, { ...work.record, publications: work.record.publications.filter((one) => one !== publication) }),
  );
}

async function saveRecord(work: AttachmentWork, record: MountRecord): Promise<void> {
  writeRecord(work.context, work.attachment.spec.volumeId, record);
  work.record = record;
}

/**
 * Unmounts and removes mount points; when something holds the mount, the error says who.
 *
 * @param target what is unmounted first, if anything
 * @param made in the order in which they are removed
 * @param options.thaw before it: see letWrite()
 * @throws AzekuraError FailedPrecondition with blame InUse
 */
async function unmountAndRemove(
  work: AttachmentWork,
  target: string | undefined,
  made: readonly string[],
  { thaw = false }: { readonly thaw?: boolean } = {},
): Promise<void> {
  const { context, attachment } = work;
  try {
    const [first] = await context
      .volumeKernel(attachment.spec.volumeId)
      .batch([
        ...(thaw && target !== undefined ? [{ call: 'thaw' as const, args: [target] as const }] : []),
        ...(target === undefined ? [] : [{ call: 'unmount' as const, args: [target] as const }]),
        ...made.map((path) => ({ call: 'removeMountPoint' as const, args: [path] as const })),
      ]);
    if (thaw && (first as { readonly wasFrozen: boolean } | undefined)?.wasFrozen) warnOfThaw(work, target ?? '');
  } catch (error) {
    if (target === undefined || !hasCode(error, 'FailedPrecondition')) throw error;
    const holders = await context.deps.host.holders({ path: target });
    const holder = holders.join(', ') || 'a process that could not be found';
    throw blamed(
      'FailedPrecondition',
      makeCause('InUse', { what: `${target} (volume ${attachment.spec.volumeName})`, holder }),
      {
        cause: error,
      },
    );
  }
}

function needVolume(work: AttachmentWork): VolumeRef {
  if (work.volume) return work.volume;
  const { volumeName } = work.attachment.spec;
  throw blamed(
    'FailedPrecondition',
    makeCause('BackingMissing', { volume: volumeName, path: 'it has no replica on this node' }),
  );
}
