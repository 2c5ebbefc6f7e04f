import type { View } from '../../control/view.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createObjectCache } from '../../kube/object-cache.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { WatchCache } from '../../lib/watch-cache.ts';
import { WorkQueue } from '../../lib/work-queue.ts';
import { hasCode } from '../../model/errors.ts';
import { driverName } from '../deps.ts';
import {
  type CapacityView,
  capacitiesOf,
  capacityFields,
  capacityLabels,
  capacityObject,
  driverLabel,
  isNews,
  nodeOfCapacity,
  type WantedCapacity,
} from './capacity-objects.ts';
import type { ClusterClaims } from './cluster-claims.ts';
import { capacityType, type OwnerReference, type StorageCapacity } from './kinds.ts';

export interface CapacityWriterDeps {
  readonly client: KubeClient;
  /** Where the objects are: the controller's own. */
  readonly namespace: string;
  /** Goes with them: the controller's Deployment. */
  readonly owner: OwnerReference | undefined;
  readonly classes: ClusterClaims['classes'];
  readonly view: CapacityView & Pick<View, 'nodes'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onWrite?: (verb: 'create' | 'patch' | 'delete') => void;
}

/** Changes of so much time are written at once: a pod's volumes come together. */
const gatherMs = 50;
const parallelism = 8;
const settleMs = 2_000;

/**
 * Keeps Kubernetes' CSIStorageCapacity objects as they should be: written when room changes, by the leader alone. What
 * others have left under our driver's name in this namespace goes.
 */
export class CapacityWriter {
  readonly #deps: CapacityWriterDeps;
  readonly #stored: WatchCache<StorageCapacity>;
  readonly #queue: WorkQueue;
  readonly #stops: (() => void)[] = [];
  /** The answers to our last writes, for as long as the watch may not have brought them. */
  readonly #written = new Map<string, { readonly object: StorageCapacity; readonly untilMs: number }>();

  constructor(deps: CapacityWriterDeps) {
    this.#deps = deps;
    const { client, namespace, clock, log, view, classes } = deps;
    this.#stored = createObjectCache<StorageCapacity>(client, capacityType, {
      namespace,
      labelSelector: `${driverLabel}=${driverName}`,
      log,
      clock,
    });
    this.#queue = new WorkQueue({
      clock,
      parallelism,
      run: (nodeName) => this.#write(nodeName),
      onError: (nodeName, err) => log.warn({ err, node: nodeName }, 'its capacity is not told; it is tried again'),
    });
    void this.#stored.synced.then(
      () => {
        const all = () => {
          for (const { metadata } of view.nodes.list()) this.#soon(metadata.name);
          for (const object of this.#stored.list()) this.#soon(nodeOfCapacity(object) ?? '');
        };
        this.#stops.push(
          view.stock.onChange((nodeName) => this.#soon(nodeName)),
          view.classes.onChange(all),
          classes.onChange(all),
          this.#stored.onChange(({ type, object }) => {
            if (type === 'deleted') this.#written.delete(object.metadata.name);
            this.#soon(nodeOfCapacity(object) ?? '');
          }),
        );
        all();
      },
      () => {},
    );
  }

  async close(deadlineMs = 5_000): Promise<void> {
    for (const stop of this.#stops) stop();
    await Promise.all([this.#queue.stop(deadlineMs), this.#stored.close()]);
  }

  #soon(nodeName: string): void {
    this.#queue.addAfter(nodeName, gatherMs);
  }

  async #write(nodeName: string): Promise<undefined> {
    const { view, classes } = this.#deps;
    const wanted = view.nodes.get(nodeName) ? capacitiesOf(nodeName, classes.list(), view) : [];
    const names = new Set(wanted.map(({ name }) => name));
    for (const one of wanted) await this.#put(one);
    for (const object of this.#stored.list())
      if ((nodeOfCapacity(object) ?? '') === nodeName && !names.has(object.metadata.name)) await this.#remove(object);
    return undefined;
  }

  async #put(wanted: WantedCapacity): Promise<void> {
    const { client, namespace, onWrite, clock } = this.#deps;
    const { name, nodeName, capacity } = wanted;
    const known = this.#known(name);
    if (known && !isNews(known, capacity)) return;
    this.#written.delete(name);
    const patch = { metadata: { labels: capacityLabels }, ...capacityFields(capacity) };
    const change = () => client.patch<StorageCapacity>(capacityType, { name, namespace }, patch);
    const make = () => client.create(capacityType, capacityObject(wanted, this.#deps));
    // One that lost its labels is not seen, and one that was just deleted still is.
    const written = known
      ? await change().catch((error: unknown) => orElse(error, 'NotFound', make))
      : await make().catch((error: unknown) => orElse(error, 'AlreadyExists', change));
    this.#written.set(name, { object: written, untilMs: clock.nowMs() + settleMs });
    // What somebody did to it meanwhile shows then.
    this.#queue.addAfter(nodeName, settleMs);
    onWrite?.(known ? 'patch' : 'create');
  }

  /** The object as it is, or as we have just written it. */
  #known(name: string): StorageCapacity | undefined {
    const stored = this.#stored.get(`${this.#deps.namespace}/${name}`);
    const written = this.#written.get(name);
    if (!written || this.#deps.clock.nowMs() >= written.untilMs) return stored;
    return stored && versionOf(stored) > versionOf(written.object) ? stored : written.object;
  }

  async #remove({ metadata }: StorageCapacity): Promise<void> {
    const { client, namespace, onWrite } = this.#deps;
    try {
      await client.delete(capacityType, { name: metadata.name, namespace });
      onWrite?.('delete');
    } catch (error) {
      if (!hasCode(error, 'NotFound')) throw error;
    }
  }
}

function orElse<T>(error: unknown, code: 'NotFound' | 'AlreadyExists', instead: () => Promise<T>): Promise<T> {
  if (hasCode(error, code)) return instead();
  throw error;
}

function versionOf({ metadata }: StorageCapacity): bigint {
  return BigInt(metadata.resourceVersion ?? 0);
}
