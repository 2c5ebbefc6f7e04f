import { createHash } from 'node:crypto';
import { causeCatalogue } from '../../model/causes.ts';
import type { Attachment, Replica } from '../../model/kinds.ts';
import { requestIdOf } from '../../model/names.ts';
import { changeStatus } from '../../store/change.ts';
import { type AgentContext, keys } from '../context.ts';

const dayMs = 24 * 3_600_000;
/** Unless the policy says otherwise. */
const everyMs = 7 * dayMs;
/** The time of a volume's trim is moved by up to this share, so that volumes that were made together are not trimmed together. */
const jitter = 0.25;
/** After a trim that failed. */
const againMs = 6 * 3_600_000;
/** A trim of a large file system takes its time; the volume's other calls do not wait for it. */
const deadlineMs = 30 * 60_000;
const lookEveryMs = 60_000;

/** A volume that can be trimmed now: mounted for writing, thin, on a pool that serves. */
interface Trimmable {
  readonly replica: Replica;
  readonly attachment: Attachment;
  readonly mountPoint: string;
}

function trimmable(context: AgentContext, volumeId: string): Trimmable | undefined {
  const attachment = context.state.attachmentOf(volumeId);
  const replica = context.state.replicasOf(volumeId).findLast((one) => one.status.phase === 'Ready');
  const { phase, stagingPath } = attachment?.status ?? {};
  if (!replica || !attachment || attachment.metadata.deletionTimestamp || phase !== 'Attached' || !stagingPath)
    return undefined;
  if (attachment.spec.readOnly || attachment.spec.access === 'block' || replica.spec.policy.provisioning === 'thick')
    return undefined;
  const { encryption, encryptionDiscard } = replica.spec.policy;
  if (encryption !== 'none' && encryptionDiscard === false) return undefined;
  return poolServes(context, replica.spec.poolName) ? { replica, attachment, mountPoint: stagingPath } : undefined;
}

/** Nothing is asked of a pool that hangs or is not well; one that is full is helped by it. */
function poolServes(context: AgentContext, poolName: string): boolean {
  const { phase, causes } = context.state.pools.get(poolName)?.status ?? {};
  if (phase !== 'Ready' && phase !== 'Draining') return false;
  if (causes?.some(({ code }) => causeCatalogue[code].severity === 'blocking' && code !== 'PoolFull')) return false;
  const domain = `pool/${poolName}`;
  return !context.deps.host.hungCalls().some((call) => call.domain === domain || call.domain.startsWith(`${domain}/`));
}

/**
 * When a volume is due, in milliseconds since the epoch; undefined for never. Pure.
 *
 * @param replica its spec.policy.trimMs, and when it was trimmed or made last
 */
export function trimDueMs({
  metadata,
  spec,
  status,
}: Pick<Replica, 'metadata' | 'spec' | 'status'>): number | undefined {
  const intervalMs = spec.policy.trimMs ?? everyMs;
  if (intervalMs === 0) return undefined;
  const lastMs = Date.parse(status.trim?.at ?? metadata.creationTimestamp);
  const share = createHash('sha256').update(spec.volumeId).digest().readUInt32LE(0) / 2 ** 32;
  return lastMs + intervalMs * (1 + jitter * (2 * share - 1));
}

function asked({ spec, status }: Replica): boolean {
  return spec.trim !== undefined && spec.trim.requestId !== status.trim?.requestId;
}

/** Has a trim that was asked for done, when the volume is as it must be for it. */
export function triggerTrim(context: AgentContext, volumeId: string): void {
  const found = trimmable(context, volumeId);
  if (found && asked(found.replica)) context.trigger(keys.trim(volumeId));
}

/** Gives back to the pool what the volume's file system does not use. One at a time on a pool. */
export async function trimVolume(context: AgentContext, volumeId: string): Promise<undefined> {
  const poolName = context.state.replicasOf(volumeId).at(-1)?.spec.poolName ?? '';
  await context.trimLocks.run(poolName, async () => {
    const found = trimmable(context, volumeId);
    const nowMs = context.deps.clock.nowMs();
    if (!found || !(asked(found.replica) || (trimDueMs(found.replica) ?? Number.POSITIVE_INFINITY) <= nowMs)) return;
    const { replica, mountPoint } = found;
    const { spec, metadata } = replica;
    const request = {
      verb: 'TrimVolume',
      subject: { kind: 'Volume', name: spec.volumeName, uid: spec.volumeUid },
      objectUid: metadata.uid,
      round: `trim/${spec.trim?.requestId ?? ''}/${replica.status.trim?.at ?? ''}`,
      ...(asked(replica) ? requestIdOf(replica) : {}),
    };
    const { trimmedBytes } = await context.tasks.run(request, ({ steps }) =>
      steps.run('agent.filesystem.trim', () =>
        context.deps.host.kernel(`trim/${volumeId}`, { deadlineMs }).trim(mountPoint),
      ),
    );
    await changeStatus(context.deps.store, 'Replica', metadata.name, () => ({
      trim: { at: context.now, trimmedBytes, ...(spec.trim ? { requestId: spec.trim.requestId } : {}) },
    }));
    context.trigger(keys.pool(spec.poolName), 1_000);
  });
  return undefined;
}

/** Looks now and then which volume of each pool is most overdue, and has that one trimmed. */
export class TrimWatch {
  readonly #context: AgentContext;
  readonly #triedMs = new Map<string, number>();
  #cancel: () => void = () => {};

  constructor(context: AgentContext) {
    this.#context = context;
    this.#wait();
  }

  stop(): void {
    this.#cancel();
  }

  #wait(): void {
    this.#cancel = this.#context.deps.clock.after(lookEveryMs, () => {
      this.#look();
      this.#wait();
    });
  }

  #look(): void {
    const nowMs = this.#context.deps.clock.nowMs();
    const chosen = new Map<string, { readonly volumeId: string; readonly dueMs: number }>();
    for (const { spec } of this.#context.state.ownAttachments()) {
      const replica = this.#context.state.replicasOf(spec.volumeId).at(-1);
      const dueMs = replica && trimDueMs(replica);
      if (!replica || dueMs === undefined || dueMs > nowMs) continue;
      if (nowMs - (this.#triedMs.get(spec.volumeId) ?? Number.NEGATIVE_INFINITY) < againMs) continue;
      if (!trimmable(this.#context, spec.volumeId)) continue;
      const { poolName } = replica.spec;
      if (dueMs < (chosen.get(poolName)?.dueMs ?? Number.POSITIVE_INFINITY))
        chosen.set(poolName, { volumeId: spec.volumeId, dueMs });
    }
    for (const { volumeId } of chosen.values()) {
      this.#triedMs.set(volumeId, nowMs);
      this.#context.trigger(keys.trim(volumeId));
    }
  }
}
