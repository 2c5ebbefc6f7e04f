import type { ObjectReference } from '../../kube/types.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { type RunResult, WorkQueue } from '../../lib/work-queue.ts';
import type { Cause } from '../../model/cause.ts';
import { lostVolumeCause } from '../lost-volume.ts';
import type { View } from '../view.ts';
import type { KubernetesLooks } from './looks.ts';

const parallelism = 2;
/** What was made a moment ago may not have been heard of yet. */
const patienceMs = 5_000;

export interface LostClaimsDeps {
  readonly looks: KubernetesLooks;
  readonly view: Pick<View, 'volumes' | 'volumeOf' | 'replicasOf' | 'pools'>;
  readonly tellCause: (regarding: ObjectReference, action: string, cause: Cause) => void;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a volume may be missing before it is told; 5 s unless told. */
  readonly patienceMs?: number;
}

export interface LostClaims {
  /** A claim whose volume was not found. */
  suspect(namespace: string, name: string): void;
  stop(deadlineMs?: number): Promise<void>;
}

/**
 * Tells on a claim that the object of its volume was removed, though the claim is bound to it and its data is there. Nobody
 * else would: what is not there has no status that could carry a cause.
 */
export function startLostClaims(deps: LostClaimsDeps): LostClaims {
  const { looks, view, tellCause, clock, log } = deps;
  /** Claims that were suspected before, and those of which it was told. */
  const seen = new Set<string>();
  const told = new Set<string>();
  const queue: WorkQueue = new WorkQueue({
    clock,
    parallelism,
    run: async (key): Promise<RunResult> => {
      const [namespace = '', name = ''] = key.split('/');
      const claim = await looks.claim(namespace, name);
      const volume = claim?.spec.volumeName === undefined ? undefined : await looks.volume(claim.spec.volumeName);
      const handle = volume?.spec.csi?.volumeHandle;
      const cause = handle === undefined || view.volumeOf(handle) ? undefined : lostVolumeCause(view, handle);
      const leaving = claim?.metadata.deletionTimestamp ?? volume?.metadata.deletionTimestamp;
      if (!claim || !cause || leaving) {
        seen.delete(key);
        told.delete(key);
        return undefined;
      }
      if (!seen.has(key)) {
        seen.add(key);
        return { againAfterMs: deps.patienceMs ?? patienceMs };
      }
      if (told.has(key)) return undefined;
      told.add(key);
      const { uid } = claim.metadata;
      tellCause(
        { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, namespace, ...(uid ? { uid } : {}) },
        'Volume',
        cause,
      );
      return undefined;
    },
    onError: (claim, err) => log.debug({ err, claim }, 'whether the volume of a claim is there could not be seen'),
  });
  const suspect = (namespace: string, name: string) => queue.add(`${namespace}/${name}`);
  const stop = view.volumes.onChange(({ object: { spec }, type }) => {
    const { claim } = spec;
    // One that comes is asked about only when it was missing: a leader that begins hears of all of them.
    if (claim && (type === 'deleted' || (type === 'added' && seen.has(`${claim.namespace}/${claim.name}`))))
      suspect(claim.namespace, claim.name);
  });
  return {
    suspect,
    stop: async (deadlineMs = 5_000) => {
      stop();
      await queue.stop(deadlineMs);
    },
  };
}
