import type { z } from 'zod';
import { engineDefinition } from '../engines/registry.ts';
import { FakeHost } from '../host/fake.ts';
import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import type { CrashPoint } from '../lib/steps.ts';
import type { AttachmentSpec } from '../model/attachment.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import { attachmentName, finalizers, memberSnapshotName, replicaName } from '../model/names.ts';
import { Policy } from '../model/policy.ts';
import type { ReplicaSpec } from '../model/replica.ts';
import { change } from '../store/change.ts';
import { openScratchStore, type ScratchStore, untilObject } from '../store/scratch.ts';
import type { Store } from '../store/store.ts';
import { createAgent } from './agent.ts';
import type { Agent, AgentDeps } from './deps.ts';

const mebibyte = 2 ** 20;

/** For unit tests: an agent on a fake machine with a real store, and the objects that control/ would make. */
export class AgentFixture {
  readonly host = new FakeHost();
  readonly store: Store;
  readonly #scratch: ScratchStore;
  readonly #clock: Clock;
  #agent: Agent | undefined;

  private constructor(scratch: ScratchStore, clock: Clock) {
    this.#clock = clock;
    this.store = scratch.store;
    this.#scratch = scratch;
  }

  /** @param options.start whether the agent is started and a pool made */
  static async open(options: { readonly start?: boolean; readonly clock?: Clock } = {}): Promise<AgentFixture> {
    const fixture = new AgentFixture(await openScratchStore(), options.clock ?? systemClock);
    const kernel = fixture.host.kernel('test');
    for (const path of ['/data', '/mnt', '/disk', '/tmp']) await kernel.makeDirectory(path);
    fixture.host.addDisk('/dev/sdb', 64 * 1_024 * mebibyte);
    fixture.host.format('/dev/sdb', 'xfs');
    await kernel.mount({ source: '/dev/sdb', target: '/disk', filesystem: 'xfs' });
    await kernel.makeDirectory('/disk/pool');
    if (options.start !== false) {
      await fixture.start();
      await fixture.addPool();
    }
    return fixture;
  }

  /** @param engines other than those of the product */
  async start(crashPoint: CrashPoint = () => {}, engines: AgentDeps['engines'] = engineDefinition): Promise<void> {
    const { host, store } = this;
    const deps = { store, host, engines, clock: this.#clock, log: silentLogger, crashPoint };
    this.#agent = createAgent({ ...deps, nodeName: 'here', dataDir: '/data', version: 'test' });
    await this.#agent.start();
  }

  /** The running agent. */
  get agent(): Agent {
    if (!this.#agent) throw new Error('the agent has not been started');
    return this.#agent;
  }

  async stop(): Promise<void> {
    await this.#agent?.stop(1_000);
    this.#agent = undefined;
  }

  async close(): Promise<void> {
    await this.stop();
    await this.#scratch.close();
  }

  async addPool(name = 'main', path = '/disk/pool'): Promise<void> {
    const source = { kind: 'directory' as const, path };
    await this.store.create({
      kind: 'Pool',
      metadata: { name, finalizers: [finalizers.agent] },
      spec: { nodeName: 'here', source },
    });
    await this.until('Pool', name, (pool) => pool?.status.phase === 'Ready');
  }

  /** A replica of a volume whose id is its name. */
  async addReplica(volumeId: string, part: Partial<ReplicaSpec> = {}, ordinal = 0): Promise<void> {
    await this.store.create({
      kind: 'Replica',
      metadata: { name: replicaName(volumeId, ordinal), finalizers: [finalizers.agent] },
      spec: {
        volumeName: volumeId,
        volumeUid: `uid-${volumeId}`,
        volumeId,
        nodeName: 'here',
        poolName: 'main',
        sizeBytes: 512 * mebibyte,
        mode: 'filesystem',
        policy: Policy.parse({}),
        volumeCreatedAt: '2026-01-01T00:00:00.000Z',
        volumeGeneration: 1,
        ...part,
      },
    });
  }

  async addReadyReplica(volumeId: string, part: Partial<ReplicaSpec> = {}): Promise<void> {
    await this.addReplica(volumeId, part);
    await this.until('Replica', replicaName(volumeId, 0), (replica) => replica?.status.phase === 'Ready');
  }

  async attach(volumeId: string, part: Partial<z.input<typeof AttachmentSpec>> = {}): Promise<void> {
    await this.store.create({
      kind: 'Attachment',
      metadata: { name: attachmentName(volumeId, 'here'), finalizers: [finalizers.agent] },
      spec: {
        volumeName: volumeId,
        volumeUid: `uid-${volumeId}`,
        volumeId,
        nodeName: 'here',
        access: 'filesystem',
        published: [{ path: `/mnt/${volumeId}` }],
        ...part,
      },
    });
  }

  async attachReady(volumeId: string, part: Partial<z.input<typeof AttachmentSpec>> = {}): Promise<void> {
    await this.attach(volumeId, part);
    await this.until('Attachment', attachmentName(volumeId, 'here'), (one) => one?.status.phase === 'Attached');
  }

  async snapshot(volumeId: string, snapshotId: string, groupName?: string): Promise<void> {
    const name = groupName === undefined ? snapshotId : memberSnapshotName(groupName, volumeId);
    await this.store.create({
      kind: 'Snapshot',
      metadata: { name, finalizers: [finalizers.agent] },
      spec: {
        volumeName: volumeId,
        volumeId,
        snapshotId,
        nodeName: 'here',
        poolName: 'main',
        ...(groupName === undefined ? {} : { groupName }),
      },
    });
  }

  /** Deletes with the consent to destroy the data, as control/ does. */
  async purge(kind: 'Replica' | 'Snapshot', name: string): Promise<void> {
    await change(this.store, kind, name, ({ spec }) => ({ spec: { ...spec, purge: true } }));
    await this.store.delete(kind, name);
  }

  /** Waits until an object is as the test wants it. @throws with the object as it is, after some seconds */
  async until<K extends Kind>(
    kind: K,
    name: string,
    test: (object: Resource<K> | undefined) => boolean,
  ): Promise<Resource<K> | undefined> {
    return untilObject(this.store, kind, name, test);
  }

  /** Targets of all mounts below a path. */
  mountsBelow(path: string): readonly string[] {
    return this.host.machine.mounts.map((mount) => mount.target).filter((target) => target.startsWith(path));
  }

  frozen(path: string): boolean {
    return this.host.machine.place(path).filesystem.frozen;
  }
}
