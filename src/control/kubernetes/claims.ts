import type { KubePersistentVolume } from '../../kube/types.ts';
import { backoffMs } from '../../lib/backoff.ts';
import { type Clock, pause } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { sameJson } from '../../lib/same-json.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import type { ClaimRef } from '../../model/claim.ts';
import { hasCode } from '../../model/errors.ts';
import { change } from '../../store/change.ts';
import type { Store } from '../../store/store.ts';
import type { View } from '../view.ts';
import type { KubernetesLooks } from './looks.ts';

const parallelism = 4;

export interface ClaimsDeps {
  readonly looks: KubernetesLooks;
  readonly store: Store;
  readonly view: View;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told of a bound PersistentVolume that has no Volume. */
  readonly onLost?: (claim: { readonly namespace: string; readonly name: string }) => void;
}

/** Keeps volumes informed of whose they are. */
export interface Claims {
  stop(deadlineMs?: number): Promise<void>;
}

/**
 * Writes into each Volume the claim that its PersistentVolume is bound to, with uid and labels, so that it gets beside the
 * data; also when the PersistentVolume is bound anew. One that was released keeps the claim that it had last. Labels are
 * those of the moment of binding.
 */
export function startClaims(deps: ClaimsDeps): Claims {
  const { looks, view, clock, log } = deps;
  const stopping = new AbortController();
  /** The newest of each that was not looked at yet. */
  const waiting = new Map<string, KubePersistentVolume>();
  const queue = new WorkQueue({
    clock,
    parallelism,
    run: async (name) => {
      const volume = waiting.get(name);
      if (!volume) return undefined;
      await bring(deps, volume);
      if (waiting.get(name) === volume) waiting.delete(name);
      return undefined;
    },
    onError: (volume, err) => log.debug({ err, volume }, 'the claim of a volume could not be written'),
  });
  const follow = async (): Promise<void> => {
    await view.synced;
    for (let failures = 0; !stopping.signal.aborted; failures++) {
      try {
        for await (const volume of looks.volumes(stopping.signal)) {
          failures = 0;
          if (!volume.spec.csi || !volume.spec.claimRef) continue;
          waiting.set(volume.metadata.name, volume);
          queue.add(volume.metadata.name);
        }
      } catch (err) {
        if (!hasCode(err, 'Expired'))
          log.warn({ err }, 'the PersistentVolumes could not be followed; it is tried again');
      }
      if (!stopping.signal.aborted) await pause(clock, backoffMs(failures, { capMs: 30_000 }), stopping.signal);
    }
  };
  const following = follow();
  return {
    stop: async (deadlineMs = 5_000) => {
      stopping.abort();
      await following;
      await queue.stop(deadlineMs);
    },
  };
}

async function bring({ looks, store, view, onLost }: ClaimsDeps, { spec }: KubePersistentVolume): Promise<void> {
  const { namespace, name, uid } = spec.claimRef ?? {};
  const volume = view.volumeOf(spec.csi?.volumeHandle ?? '');
  if (!namespace || !name || !uid) return;
  if (!volume) {
    onLost?.({ namespace, name });
    return;
  }
  const now = volume.spec.claim;
  if (now?.namespace === namespace && now.name === name && now.uid === uid) return;
  const labels = (await looks.claim(namespace, name))?.metadata.labels;
  const claim: ClaimRef = { namespace, name, uid, ...(labels ? { labels: { ...labels } } : {}) };
  await change(store, 'Volume', volume.metadata.name, (object) =>
    sameJson(object.spec.claim, claim) ? undefined : { spec: { ...object.spec, claim } },
  );
}
