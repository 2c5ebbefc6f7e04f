import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { expect } from 'vitest';
import type { Host } from '../../host/host.ts';
import { makeFilesystem } from '../../host/mkfs.ts';
import { type Clock, systemClock, timestamp } from '../../lib/clock.ts';
import { newUid, shortId } from '../../lib/id.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { silentLogger } from '../../lib/log.ts';
import { makeSteps, type Steps } from '../../lib/steps.ts';
import type { CauseCode } from '../../model/causes.ts';
import { AzekuraError, type ErrorCode } from '../../model/errors.ts';
import type {
  CreateVolume,
  Engine,
  EngineDefinition,
  PoolRef,
  SnapshotIdentity,
  SnapshotRef,
  VolumeIdentity,
  VolumeRef,
} from '../contract.ts';

const mebibyte = 2 ** 20;

/** The machine that the suite runs on. */
export interface ContractEnv {
  readonly host: Host;
  readonly runtimeDir: string;
  /** Without poolId: the suite makes the pool there. */
  readonly pool: PoolRef;
  /** For moves between pools. */
  readonly otherPool?: PoolRef;
  /** A folder for mounts. */
  readonly scratch: string;
  /**
   * Of the crash points of an operation each so many-th is tried, where a try is dear, beginning at one that chance chooses.
   * All of them unless told.
   */
  readonly crashStride?: number;
  /** What the volumes say beside the data that they are encrypted with, if they are. */
  readonly encryption?: VolumeIdentity['encryption'];
  /** Devices on this machine that the engine has made for volumes of the pool; loop devices on its files unless told. */
  devices?(pool: PoolRef): Promise<readonly string[]>;
  /** Takes everything away, also after a failed test. */
  end(): Promise<void>;
}

/** A kind of volume that the engine offers. */
export type Variant = Pick<VolumeIdentity, 'mode' | 'provisioning' | 'filesystem'>;

/** What the parts of the suite share: the environment, short ways to ask the engine, devices to write to. */
export class ContractKit {
  readonly definition: EngineDefinition;
  readonly clock: Clock = systemClock;
  #env: ContractEnv | undefined;
  #pool: PoolRef | undefined;
  #otherPool: PoolRef | undefined;

  constructor(definition: EngineDefinition) {
    this.definition = definition;
  }

  async begin(env: ContractEnv): Promise<void> {
    this.#env = env;
    const engine = this.engine();
    this.#pool = { ...env.pool, poolId: (await engine.pools.open(env.pool)).poolId };
    if (env.otherPool) this.#otherPool = { ...env.otherPool, poolId: (await engine.pools.open(env.otherPool)).poolId };
  }

  async end(): Promise<void> {
    await this.#env?.end();
  }

  get env(): ContractEnv {
    if (!this.#env) throw new Error('the suite has not begun');
    return this.#env;
  }

  get pool(): PoolRef {
    if (!this.#pool) throw new Error('the suite has not begun');
    return this.#pool;
  }

  get otherPool(): PoolRef {
    if (!this.#otherPool) throw new Error('the environment has no second pool');
    return this.#otherPool;
  }

  /** A fresh engine, as the agent makes one for each operation. */
  engine(steps: Steps = makeSteps()): Engine {
    return this.definition.create({
      host: this.env.host,
      clock: this.clock,
      log: silentLogger,
      steps,
      locks: new KeyedLock(),
      nodeName: 'contract',
      runtimeDir: this.env.runtimeDir,
    });
  }

  snapshots(engine: Engine = this.engine()): NonNullable<Engine['snapshots']> {
    if (!engine.snapshots) throw new Error('the engine says it has snapshots and has none');
    return engine.snapshots;
  }

  variants(): readonly Variant[] {
    const { access, provisioning, filesystems } = this.definition.capabilities;
    return provisioning.flatMap((kind): Variant[] => [
      ...(access.includes('block') ? [{ mode: 'block' as const, provisioning: kind }] : []),
      ...(access.includes('filesystem')
        ? filesystems.map((filesystem) => ({ mode: 'filesystem' as const, filesystem, provisioning: kind }))
        : []),
    ]);
  }

  /** The least that a device can grow by. */
  get step(): number {
    return this.definition.capabilities.sizeStepBytes;
  }

  /** Puts a file system on a device that came up blank, as the agent does. */
  async format(volume: VolumeRef, filesystem: 'xfs' | 'ext4'): Promise<void> {
    const engine = this.engine();
    const { device, blank } = await engine.volumes.attach(volume, { readOnly: false });
    if (!blank) return;
    await makeFilesystem(this.env.host, { device, filesystem, content: 'noise', domain: 'contract' });
    await engine.volumes.markFormatted?.(volume);
    await engine.volumes.markFormatted?.(volume);
    expect((await this.engine().volumes.observe(volume)).attached?.blank).toBeUndefined();
  }

  /** Small, but large enough for the file system. */
  sizeOf(variant: Variant): number {
    return (variant.filesystem === 'xfs' ? 320 : 64) * mebibyte;
  }

  request(
    variant: Variant,
    part: Partial<Pick<CreateVolume, 'source'>> & { readonly sizeBytes?: number; readonly pool?: PoolRef } = {},
  ): CreateVolume {
    const volumeId = shortId();
    const { source, sizeBytes = this.sizeOf(variant), pool = this.pool } = part;
    const identity: VolumeIdentity = {
      ...variant,
      name: `volume-${volumeId}`,
      uid: newUid(),
      volumeId,
      sizeBytes,
      className: 'contract',
      createdAt: timestamp(this.clock),
      generation: 1,
      claim: { namespace: 'default', name: 'claim', labels: { app: 'contract' } },
      ...(this.env.encryption ? { encryption: this.env.encryption } : {}),
    };
    return { volume: { pool, volumeId }, identity, parameters: {}, ...(source ? { source } : {}) };
  }

  async create(variant: Variant, part: Parameters<ContractKit['request']>[1] = {}): Promise<CreateVolume> {
    const request = this.request(variant, part);
    await this.engine().volumes.create(request);
    return request;
  }

  snapshotOf(volume: VolumeRef): { readonly ref: SnapshotRef; readonly identity: SnapshotIdentity } {
    const snapshotId = shortId();
    const { volumeId } = volume;
    const identity: SnapshotIdentity = {
      name: `snapshot-${snapshotId}`,
      uid: newUid(),
      snapshotId,
      volumeId,
      sizeBytes: 0,
      cutAt: timestamp(this.clock),
      consistency: 'crash',
    };
    return { ref: { ...volume, snapshotId }, identity };
  }

  async takeSnapshot(volume: VolumeRef): Promise<SnapshotRef> {
    const { ref, identity } = this.snapshotOf(volume);
    const snapshots = this.snapshots();
    await snapshots.prepare(ref);
    await snapshots.cut(ref);
    await snapshots.commit(ref, identity);
    return ref;
  }

  /** Attaches, works on the device, detaches. */
  async onDevice<T>(volume: VolumeRef, work: (device: string) => T | Promise<T>): Promise<T> {
    const engine = this.engine();
    const { device } = await engine.volumes.attach(volume, { readOnly: false });
    try {
      return await work(device);
    } finally {
      await engine.volumes.detach(volume);
    }
  }

  async contentOf(volume: VolumeRef): Promise<string> {
    return this.onDevice(volume, digestOf);
  }

  /** Writes random bytes here and there and makes them durable. */
  async scribble(volume: VolumeRef, times = 20): Promise<void> {
    await this.onDevice(volume, (device) => scribbleOn(device, times));
  }

  /** Devices on this machine that stand on something of the pool. */
  async devices(pool: PoolRef = this.pool): Promise<readonly string[]> {
    if (this.env.devices) return this.env.devices(pool);
    const { path } = await this.engine().pools.open(pool);
    const loops = await this.env.host.loops();
    return loops.filter((loop) => loop.backingFile.startsWith(`${path}/`)).map((loop) => loop.device);
  }
}

export async function expectError(work: Promise<unknown>, code: ErrorCode, blame?: CauseCode): Promise<void> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AzekuraError);
  if (!(error instanceof AzekuraError)) return;
  expect({ code: error.code, blame: error.blame?.code, message: error.message }).toMatchObject({
    code,
    ...(blame ? { blame } : {}),
  });
  expect(error.next ?? error.message).not.toBe('');
}

export function deviceBytes(device: string): number {
  return withDevice(device, (fd) => {
    let low = 0;
    let high = 2 ** 44;
    const byte = Buffer.alloc(1);
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (readSync(fd, byte, 0, 1, middle) === 1) low = middle + 1;
      else high = middle;
    }
    return low;
  });
}

export function scribbleOn(device: string, times = 20): void {
  const sizeBytes = deviceBytes(device);
  withDevice(device, (fd) => {
    for (let time = 0; time < times; time++) {
      const length = 4096 * (1 + Math.floor(Math.random() * 16));
      const at = Math.floor(Math.random() * ((sizeBytes - length) / 4096)) * 4096;
      writeSync(fd, randomBytes(length), 0, length, at);
    }
    fsyncSync(fd);
  });
}

export function digestOf(device: string): string {
  return createHash('sha256').update(bytesOf(device)).digest('hex');
}

export function bytesOf(device: string): Buffer {
  const bytes = Buffer.alloc(deviceBytes(device));
  withDevice(device, (fd) => {
    for (let done = 0; done < bytes.length; )
      done += readSync(fd, bytes, done, Math.min(8 * mebibyte, bytes.length - done), done);
  });
  return bytes;
}

export function withDevice<T>(device: string, work: (fd: number) => T): T {
  const fd = openSync(device, 'r+');
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}
