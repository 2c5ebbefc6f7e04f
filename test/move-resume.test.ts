import { existsSync, readdirSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LabEngine } from '../lab/engine.ts';
import { engineDeps } from '../lab/engine-parts.ts';
import { type Random, seededRandom } from '../lab/random.ts';
import { Cleanup } from '../lab/workbench.ts';
import type { Engine, PoolRef, SnapshotRef, VolumeRef } from '../src/engines/contract.ts';
import { deviceBytes, digestOf, scribbleOn, withDevice } from '../src/engines/contract-suite/kit.ts';
import { fileEngine } from '../src/engines/file/engine.ts';
import { type Logger, silentLogger } from '../src/lib/log.ts';
import { makeSteps } from '../src/lib/steps.ts';

const whyNot = process.getuid?.() === 0 ? undefined : 'not root, so no loop devices can be made';
const mib = 2 ** 20;
const rounds = process.env.AZEKURA_LONG === '1' ? 60 : 3;
const seed = Number(process.env.AZEKURA_SEED ?? Date.now() % 2 ** 31);

/** A move is interrupted wherever it is, the volume is used in between, and the move is asked for again. */
describe.skipIf(whyNot)(`moving a volume, seed ${seed}${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  const cleanup = new Cleanup();
  let lab: LabEngine;
  let runtimeDir: string;
  let here: PoolRef;
  let there: PoolRef;
  /** Bytes at which an attempt went on. */
  const wentOn: number[] = [];

  beforeAll(async () => {
    const scratch = cleanup.directory('/dev/shm/azekura-move-');
    runtimeDir = `${scratch}/run`;
    lab = LabEngine.open(runtimeDir, cleanup);
    const image = (name: string) => ({
      kind: 'image' as const,
      path: `${scratch}/${name}.img`,
      sizeBytes: 3 * 2 ** 30,
    });
    here = await lab.pool('here', image('here'), cleanup);
    there = await lab.pool('there', image('there'), cleanup);
  }, 60_000);
  afterAll(() => cleanup.run());

  const log: Logger = {
    ...silentLogger,
    info: (fields) => {
      if ('copiedBytes' in fields) wentOn.push(Number(fields.copiedBytes));
    },
  };

  /** An engine that is interrupted at the n-th of its steps that match. */
  function engine(at?: { readonly step: RegExp; readonly n: number }): Engine {
    let left = at?.n ?? 0;
    const steps = makeSteps({}, (point) => {
      if (at?.step.test(point) && --left === 0) throw new Error(`interrupted at ${point}`);
    });
    return fileEngine.create(engineDeps(lab.host, runtimeDir, { steps, log }));
  }

  const move = (by: Engine, volume: VolumeRef) => async () => {
    const { identity } = await lab.engine.volumes.observe(volume);
    if (!identity) throw new Error('the volume has no identity');
    const to = { pool: there, volumeId: volume.volumeId };
    await by.volumes.create({ volume: to, identity, parameters: {}, source: { kind: 'move', volume } });
    return to;
  };

  async function attached<T>(volume: VolumeRef, work: (device: string) => T): Promise<T> {
    const device = await lab.attach(volume);
    try {
      return work(device);
    } finally {
      await lab.engine.volumes.detach(volume);
    }
  }

  /** 300 MiB of what no other place has, so that a copy has notes to write in its middle. */
  const fill = (device: string, random: Random) =>
    withDevice(device, (fd) => {
      const block = random.fill(Buffer.alloc(4 * mib));
      for (let offset = 0; offset < 300 * mib; offset += block.length) {
        block.writeBigUInt64LE(BigInt(offset), 0);
        writeSync(fd, block, 0, block.length, offset);
      }
    });

  const unfinished = (pool: PoolRef) =>
    pool.source.kind === 'image' ? readdirSync(`${lab.poolFolder(pool)}/tmp`) : ['not an image'];

  it(`ends with the volume and its snapshots as they are, whatever interrupted it, ${rounds} times`, async () => {
    const random = seededRandom(seed);
    for (let round = 0; round < rounds; round++) {
      const volume = await lab.createVolume(here, {
        sizeBytes: 512 * mib,
        provisioning: random.chance(0.3) ? 'thick' : 'thin',
      });
      const snapshots = new Map<
        string,
        { readonly ref: SnapshotRef; readonly digest: string; readonly bytes: number }
      >();
      const cut = async () => {
        const [digest, bytes] = await attached(volume, (device) => [digestOf(device), deviceBytes(device)] as const);
        const ref = await lab.snapshot(volume);
        snapshots.set(ref.snapshotId, { ref, digest, bytes });
      };
      await attached(volume, (device) => fill(device, random));
      await cut();
      for (let attempt = 0; attempt < 3; attempt++) {
        const step = random.pick([
          /move-note:after/,
          /move-base:/,
          /move-snapshot:/,
          /move-identity:/,
          /move-(rest|end):/,
        ]);
        const n = 1 + random.below(3);
        await move(engine({ step, n }), volume)().catch((error: Error) => expect(error.message).toMatch('interrupted'));
        if ((await lab.engine.volumes.observe({ pool: there, volumeId: volume.volumeId })).present) break;
        if (random.chance(0.5)) await attached(volume, (device) => scribbleOn(device, 5));
        if (random.chance(0.3)) await cut();
        const [oldest] = snapshots.values();
        if (random.chance(0.3) && oldest) {
          await lab.engine.snapshots?.delete(oldest.ref);
          snapshots.delete(oldest.ref.snapshotId);
        }
        if (random.chance(0.3)) {
          const { sizeBytes } = await lab.engine.volumes.observe(volume);
          await lab.engine.volumes.expand(volume, sizeBytes + 8 * mib);
        }
        // A restart sweeps both pools, and keeps what the move has done.
        for (const pool of [here, there])
          await lab.engine.pools.sweep(pool, { idle: true, movingVolumeIds: [volume.volumeId] });
      }
      const digest = await attached(volume, digestOf);
      const moved = await move(engine(), volume)();
      expect(await attached(moved, digestOf)).toBe(digest);
      expect((await lab.engine.volumes.observe(moved)).snapshotIds.toSorted()).toEqual(
        [...snapshots.keys()].toSorted(),
      );
      for (const { ref, digest: atSnapshot, bytes } of snapshots.values()) {
        const clone = await lab.createVolume(there, { sizeBytes: bytes, from: { ...ref, pool: there } });
        expect(await attached(clone, digestOf)).toBe(atSnapshot);
        await lab.engine.volumes.delete(clone);
      }
      for (const one of [volume, moved]) await lab.engine.volumes.delete(one);
      for (const pool of [here, there]) expect(unfinished(pool)).toEqual([]);
    }
  }, 600_000);

  it('goes on where its copy was noted last, and not from the beginning', async () => {
    const volume = await lab.createVolume(here, { sizeBytes: 512 * mib });
    await attached(volume, (device) => fill(device, seededRandom(1)));
    const interrupted = move(engine({ step: /move-note:after/, n: 2 }), volume);
    await expect(interrupted()).rejects.toThrow('interrupted');
    wentOn.length = 0;
    await move(engine(), volume)();
    expect(wentOn).toHaveLength(1);
    expect(wentOn[0]).toBeGreaterThanOrEqual(256 * mib);
    await lab.engine.volumes.delete({ pool: there, volumeId: volume.volumeId });
    await lab.engine.volumes.delete(volume);
  });

  it('leaves nothing of itself when the volume is deleted in its middle', async () => {
    const volume = await lab.createVolume(here, { sizeBytes: 512 * mib });
    await attached(volume, (device) => fill(device, seededRandom(2)));
    await expect(move(engine({ step: /move-note:after/, n: 1 }), volume)()).rejects.toThrow('interrupted');
    expect(existsSync(`${lab.poolFolder(here)}/tmp/move-${volume.volumeId}/data`)).toBe(true);
    expect(existsSync(`${lab.poolFolder(there)}/tmp/create-${volume.volumeId}/move.json`)).toBe(true);
    await lab.engine.volumes.delete({ pool: there, volumeId: volume.volumeId });
    await lab.engine.volumes.delete(volume);
    for (const pool of [here, there]) expect(unfinished(pool)).toEqual([]);
  });
});
