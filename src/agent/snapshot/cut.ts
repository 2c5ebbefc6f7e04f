import type { Engine, EngineSnapshots, SnapshotIdentity, SnapshotRef } from '../../engines/contract.ts';
import type { Clock } from '../../lib/clock.ts';
import { freezesNest } from '../../lib/kernel-release.ts';
import type { Steps } from '../../lib/steps.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Replica, Snapshot } from '../../model/kinds.ts';
import type { AgentContext } from '../context.ts';
import { isReadOnly, topMount } from '../filesystem/mount-table.ts';
import { type FreezeTarget, freezeAll, freezeDeadlineMs, recordFreezes, thawAll } from './freezes.ts';

/** One volume of a cut. */
export interface CutMember {
  readonly snapshot: Snapshot;
  readonly replica: Replica;
}

export interface CutResult {
  readonly cutAt: string;
  readonly consistency: 'crash' | 'filesystem';
  readonly sizeBytes: number;
}

interface Prepared extends CutMember {
  readonly engine: Engine;
  readonly snapshots: EngineSnapshots;
  readonly ref: SnapshotRef;
  /** Mounted and writable: it has to be held still to be cut consistently. */
  readonly mountPoint?: string;
  /** The cut brings the mounted file system to rest by itself, and is not to be helped. */
  readonly holdsMounted: boolean;
  /** A raw block device that somebody may write to. */
  readonly rawAttached: boolean;
}

/**
 * Cuts snapshots of several volumes at one instant: prepare all, freeze all, cut all, thaw all (whatever happens),
 * commit all. One volume alone is a group of one.
 *
 * @returns per snapshot name
 * @throws AzekuraError Aborted with blame FreezeTimedOut, Unimplemented when attached volumes cannot be held together
 */
export async function cutTogether(
  context: AgentContext,
  steps: Steps,
  members: readonly CutMember[],
  options: { readonly freeze: boolean; readonly groupName?: string },
): Promise<ReadonlyMap<string, CutResult>> {
  const prepared: Prepared[] = [];
  for (const member of members) prepared.push(await look(context, steps, member, members.length > 1));
  const raw = prepared.filter((member) => member.rawAttached);
  const frozen = prepared.filter((member) => !member.holdsMounted);
  const targets = options.freeze ? frozen.flatMap(freezeTarget) : [];
  // Alone, such a member is at rest for the instant of its cut; several are held until the last of them is cut.
  const mounted = prepared.filter((member) => member.holdsMounted && member.mountPoint !== undefined);
  const suspended = members.length > 1 ? [...raw, ...(options.freeze ? mounted : [])] : [];
  refuseUnheld(suspended);
  const resumes: (() => Promise<void>)[] = [];
  let cutAt = '';
  try {
    // Whatever an earlier attempt left behind is of another instant.
    await Promise.all(
      prepared.map(({ snapshots, ref }) => steps.run('agent.snapshot.clean', () => snapshots.abandon(ref))),
    );
    await Promise.all(
      prepared.map(({ snapshots, ref }) => steps.run('agent.snapshot.prepare', () => snapshots.prepare(ref))),
    );
    await steps.run('agent.snapshot.record-freeze', () => recordFreezes(context, targets));
    await freezeAll(context, steps, targets);
    for (const member of suspended) resumes.push(await suspend(steps, member));
    cutAt = context.now;
    const cuts = prepared.map(({ snapshots, ref }) => steps.run('agent.snapshot.cut', () => snapshots.cut(ref)));
    await withinFreeze(context.deps.clock, Promise.all(cuts), prepared);
  } catch (error) {
    await release(context, steps, targets, resumes);
    await abandonAll(context, steps, prepared);
    throw error;
  }
  await release(context, steps, targets, resumes);
  const results = new Map<string, CutResult>();
  for (const member of prepared) results.set(member.snapshot.metadata.name, resultOf(member, cutAt, options.freeze));
  await Promise.all(prepared.map((member) => commit(steps, member, results, options.groupName)));
  return results;
}

async function look(context: AgentContext, steps: Steps, member: CutMember, together: boolean): Promise<Prepared> {
  const { replica, snapshot } = member;
  const engine = context.engineOf(replica, steps);
  const { snapshotId } = snapshot.spec;
  if (!engine.snapshots || !snapshotId)
    throw new AzekuraError('Unimplemented', `engine ${replica.spec.policy.engine} takes no snapshots`);
  const ref = { ...context.volumeRef(replica), snapshotId };
  const attachment = context.state.attachmentOf(replica.spec.volumeId);
  const seen = await engine.volumes.observe(ref);
  const writable = seen.attached !== undefined && !seen.attached.readOnly;
  const mountPoint = attachment?.status.stagingPath;
  const mount = mountPoint === undefined ? undefined : topMount(await context.deps.host.mounts(), mountPoint);
  const mounted =
    replica.spec.mode === 'filesystem' && mountPoint !== undefined && mount !== undefined && !isReadOnly(mount);
  const { cutHoldsMounted } = context.definitionOf(replica).capabilities;
  const { kernelRelease } = await context.deps.host.facts();
  // Among others such a member is frozen like any, where the kernel lets the cut bring to rest what is at rest already.
  const freezable = together && !engine.suspend && freezesNest(kernelRelease);
  return {
    ...member,
    engine,
    snapshots: engine.snapshots,
    ref,
    ...(mounted ? { mountPoint } : {}),
    holdsMounted: cutHoldsMounted && !freezable,
    rawAttached: replica.spec.mode === 'block' && writable,
  };
}

function freezeTarget({ mountPoint, replica }: Prepared): FreezeTarget[] {
  const { volumeId, volumeName } = replica.spec;
  return mountPoint === undefined ? [] : [{ volumeId, volumeName, mountPoint }];
}

function refuseUnheld(members: readonly Prepared[]): void {
  const unable = members.filter((member) => !member.engine.suspend);
  if (unable.length === 0) return;
  const names = unable.map((member) => member.replica.spec.volumeName).join(', ');
  throw new AzekuraError(
    'Unimplemented',
    `the volumes ${names} are attached, and their engine cannot hold back their writes together`,
    {
      next: 'detach them for the snapshot, or take their snapshots one by one',
    },
  );
}

async function suspend(steps: Steps, member: Prepared): Promise<() => Promise<void>> {
  const held = member.engine.suspend;
  if (!held) throw new AzekuraError('Unimplemented', 'the engine cannot hold back writes');
  const { resume } = await steps.run('agent.snapshot.suspend', () => held(member.ref, freezeDeadlineMs));
  return resume;
}

/** The instant must be short: what takes longer than the freeze may last is given up. */
async function withinFreeze(clock: Clock, cuts: Promise<unknown>, members: readonly Prepared[]): Promise<void> {
  let cancel: () => void = () => {};
  const volume = members.map((member) => member.replica.spec.volumeName).join(', ');
  const late = new Promise<never>((_, reject) => {
    cancel = clock.after(freezeDeadlineMs, () =>
      reject(blamed('Aborted', makeCause('FreezeTimedOut', { volume, seconds: freezeDeadlineMs / 1_000 }))),
    );
  });
  cuts.catch(() => {});
  try {
    await Promise.race([cuts, late]);
  } finally {
    cancel();
  }
}

async function release(
  context: AgentContext,
  steps: Steps,
  targets: readonly FreezeTarget[],
  resumes: readonly (() => Promise<void>)[],
): Promise<void> {
  for (const resume of resumes)
    await resume().catch((err: unknown) => context.deps.log.error({ err }, 'writes could not be let go'));
  await thawAll(context, steps, targets);
}

async function abandonAll(context: AgentContext, steps: Steps, members: readonly Prepared[]): Promise<void> {
  for (const { snapshots, ref } of members) {
    try {
      await steps.run('agent.snapshot.abandon', () => snapshots.abandon(ref));
    } catch (err) {
      context.deps.log.warn(
        { err, snapshotId: ref.snapshotId },
        'a snapshot that was given up could not be cleaned away yet',
      );
    }
  }
}

function resultOf(member: Prepared, cutAt: string, freeze: boolean): CutResult {
  const still = member.mountPoint === undefined || member.holdsMounted || freeze;
  const consistency = member.replica.spec.mode === 'filesystem' && still ? 'filesystem' : 'crash';
  return { cutAt, consistency, sizeBytes: member.replica.status.sizeBytes };
}

async function commit(
  steps: Steps,
  member: Prepared,
  results: ReadonlyMap<string, CutResult>,
  groupName: string | undefined,
): Promise<void> {
  const { snapshot, ref, snapshots, replica } = member;
  const result = results.get(snapshot.metadata.name);
  if (!result) return;
  const identity: SnapshotIdentity = {
    name: snapshot.metadata.name,
    uid: snapshot.metadata.uid,
    snapshotId: ref.snapshotId,
    volumeId: replica.spec.volumeId,
    ...result,
    ...(groupName === undefined ? {} : { group: groupName }),
  };
  await steps.run('agent.snapshot.commit', () => snapshots.commit(ref, identity));
}
