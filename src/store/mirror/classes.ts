import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { hasCode } from '../../model/errors.ts';
import type { Class } from '../../model/kinds.ts';
import { annotations } from '../../model/names.ts';
import type { LocalStore, Store } from '../store.ts';
import { sameJson } from './plan.ts';

/** Classes change seldom, and their status often: a look now and then costs less than a watch on every node. */
const refreshEveryMs = 10 * 60_000;

/** The cluster's Classes on a node, to read only: what it makes for itself is made by them, also without the cluster. */
export class ClassCopies {
  readonly #local: LocalStore;
  readonly #remote: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  #cancel: () => void = () => {};
  #stopped = false;
  #running: Promise<void> | undefined;

  constructor(options: {
    readonly local: LocalStore;
    readonly remote: Store;
    readonly clock: Clock;
    readonly log: Logger;
  }) {
    this.#local = options.local;
    this.#remote = options.remote;
    this.#clock = options.clock;
    this.#log = options.log;
    void this.refresh();
  }

  /** Asks the cluster now; when it does not answer, what is there stays. Never throws. */
  refresh(): Promise<void> {
    this.#running ??= this.#refresh()
      .catch((err: unknown) => this.#log.debug({ err }, 'the classes of the cluster could not be read'))
      .finally(() => {
        this.#running = undefined;
        this.#wait();
      });
    return this.#running;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#running;
  }

  #wait(): void {
    this.#cancel();
    if (!this.#stopped) this.#cancel = this.#clock.after(refreshEveryMs, () => void this.refresh());
  }

  async #refresh(): Promise<void> {
    const { items } = await this.#remote.list('Class');
    const names = new Set(items.map(({ metadata }) => metadata.name));
    for (const one of items) await this.#put(one);
    for (const { metadata } of (await this.#local.list('Class')).items)
      if (!names.has(metadata.name)) await this.#local.delete('Class', metadata.name);
  }

  async #put(remote: Class): Promise<void> {
    const { name, uid, generation, creationTimestamp, labels } = remote.metadata;
    const present = await this.#local.find('Class', name);
    if (present && present.metadata.uid === uid && sameJson(present.spec, remote.spec)) return;
    const metadata = {
      name,
      uid,
      resourceVersion: '',
      generation,
      creationTimestamp,
      finalizers: [],
      ownerReferences: [],
      labels,
      annotations: { [annotations.mirrored]: name },
    };
    try {
      await this.#local.put({ ...remote, metadata, status: { volumes: 0 } }, present?.metadata.resourceVersion);
    } catch (error) {
      if (!hasCode(error, 'Conflict')) throw error;
    }
  }
}
