import type { View } from '../../control/view.ts';
import { shortId } from '../../lib/id.ts';
import type { Cause } from '../../model/cause.ts';
import { causeCatalogue } from '../../model/causes.ts';
import type { Attachment, Snapshot, SnapshotGroup, Volume } from '../../model/kinds.ts';
import { change, changeStatus } from '../../store/change.ts';
import type { Store } from '../../store/store.ts';

/** What controllers and agents would do, done at once in the store only: no machine is touched. */
export class FakeAgent {
  readonly #store: Store;
  readonly #nodeName: string;
  readonly #stops: (() => void)[] = [];
  readonly #held = new Set<string>();
  #work: Promise<void> = Promise.resolve();
  /** Objects that are not as they should be, by name. */
  readonly causes = new Map<string, Cause>();

  constructor(deps: { readonly store: Store; readonly view: View; readonly nodeName: string }) {
    const { view } = deps;
    this.#store = deps.store;
    this.#nodeName = deps.nodeName;
    const follow = (event: { readonly type: string; readonly object: AnyObject }) => {
      if (event.type !== 'deleted' && !this.#held.has(event.object.metadata.name))
        this.#enqueue(() => this.#any(event.object));
    };
    this.#stops.push(
      view.volumes.onChange(follow),
      view.attachments.onChange(follow),
      view.snapshots.onChange(follow),
      view.groups.onChange(follow),
    );
  }

  /** Leaves the object of that name as it is, until let go. */
  hold(name: string): void {
    this.#held.add(name);
  }

  /** Goes on with what was held. */
  async release(name: string): Promise<void> {
    this.#held.delete(name);
    for (const kind of ['Volume', 'Attachment', 'Snapshot', 'SnapshotGroup'] as const) {
      const object = await this.#store.find(kind, name);
      if (object) this.#enqueue(() => this.#any(object as AnyObject));
    }
    await this.#work;
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops) stop();
    await this.#work;
  }

  #any(object: AnyObject): Promise<void> {
    switch (object.kind) {
      case 'Volume':
        return this.#volume(object);
      case 'Attachment':
        return this.#attachment(object);
      case 'Snapshot':
        return this.#snapshot(object);
      case 'SnapshotGroup':
        return this.#group(object);
    }
  }

  #enqueue(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch(() => {});
  }

  #causesOf(name: string): Cause[] {
    const cause = this.causes.get(name);
    return cause ? [cause] : [];
  }

  async #letGo(object: AnyObject): Promise<void> {
    await change(this.#store, object.kind, object.metadata.name, () => ({ metadata: { finalizers: [] } }));
  }

  async #volume(volume: Volume): Promise<void> {
    const { name, deletionTimestamp } = volume.metadata;
    if (deletionTimestamp) return this.#letGo(volume);
    const causes = this.#causesOf(name);
    await changeStatus(this.#store, 'Volume', name, ({ spec, status }) => ({
      ...(causes.length > 0 && status.sizeBytes === 0
        ? { phase: 'Failed' as const }
        : {
            phase: 'Ready' as const,
            volumeId: status.volumeId ?? shortId(),
            sizeBytes: spec.sizeBytes,
            replicas: [{ replicaName: 'r-0', nodeName: this.#nodeName, poolName: 'main', phase: 'Ready' }],
          }),
      causes,
    }));
  }

  async #attachment(attachment: Attachment): Promise<void> {
    const { name, deletionTimestamp, generation } = attachment.metadata;
    if (deletionTimestamp) return this.#letGo(attachment);
    const causes = this.#causesOf(name);
    const blocked = causes.some((cause) => causeCatalogue[cause.code].severity === 'blocking');
    await changeStatus(this.#store, 'Attachment', name, (stored) => {
      if (stored.metadata.generation !== generation) return undefined;
      const { spec } = stored;
      const mounted = spec.staged && spec.access === 'filesystem';
      return {
        observedGeneration: generation,
        phase: blocked ? ('Failed' as const) : ('Attached' as const),
        devicePath: '/dev/loop0',
        stagingPath: mounted && !blocked ? (spec.stagingPath ?? `/fake/${spec.volumeId}`) : undefined,
        published: !blocked ? spec.published.map(({ path }) => path) : [],
        layers: mounted
          ? [{ kind: 'filesystem' as const, name: 'xfs', details: { grownToBytes: String(2 ** 50) } }]
          : [],
        causes,
      };
    });
  }

  async #snapshot(snapshot: Snapshot): Promise<void> {
    const { name, deletionTimestamp } = snapshot.metadata;
    if (deletionTimestamp) return this.#letGo(snapshot);
    const causes = this.#causesOf(name);
    const volume = await this.#store.find('Volume', snapshot.spec.volumeName);
    await changeStatus(this.#store, 'Snapshot', name, ({ status }) =>
      causes.length > 0
        ? { phase: 'Failed' as const, causes }
        : {
            phase: 'Ready' as const,
            readyToUse: true,
            cutAt: status.cutAt ?? new Date().toISOString(),
            sizeBytes: volume?.spec.sizeBytes ?? status.sizeBytes,
            causes,
          },
    );
  }

  async #group(group: SnapshotGroup): Promise<void> {
    const { name, deletionTimestamp } = group.metadata;
    if (deletionTimestamp) return this.#letGo(group);
    const { items } = await this.#store.list('Snapshot');
    const members = items.filter(({ spec }) => spec.groupName === name);
    const done = members.length === group.spec.volumeNames.length && members.every(({ status }) => status.readyToUse);
    await changeStatus(this.#store, 'SnapshotGroup', name, ({ status }) => ({
      phase: done ? ('Ready' as const) : ('Pending' as const),
      cutAt: status.cutAt ?? new Date().toISOString(),
      snapshotNames: members.map(({ metadata }) => metadata.name),
    }));
    // The members are written after the group: what came too early is looked at again.
    if (!done) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      this.#enqueue(() => this.#group(group));
    }
  }
}

type AnyObject = Volume | Attachment | Snapshot | SnapshotGroup;
