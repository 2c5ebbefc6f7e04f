import { createHash, randomBytes } from 'node:crypto';
import { closeSync, constants, fsyncSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine, PoolRef, VolumeIdentity, VolumeRef } from '../../../src/engines/contract.ts';
import { bytesOf, expectError } from '../../../src/engines/contract-suite/kit.ts';
import { lvmEngine } from '../../../src/engines/lvm/engine.ts';
import type { Host } from '../../../src/host/host.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { newUid, shortId } from '../../../src/lib/id.ts';
import { KeyedLock } from '../../../src/lib/keyed-lock.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { makeSteps } from '../../../src/lib/steps.ts';
import { machineHost } from './parts/host.ts';

/* Runs inside a machine of the lab; see engine-lvm.ts. Each test makes a pool of the first disk, which it may spoil. */
const [disk = ''] = (process.env.AZEKURA_LAB_DISKS ?? '').split(',');
const mebibyte = 2 ** 20;
const chunkBytes = 64 * 1024;

describe('a thin pool at its limits', () => {
  let host: Host;
  let scratch: string;
  let pool: PoolRef = {
    name: 'none',
    source: { kind: 'disks', disks: [disk] },
    reservePercent: 5,
    acceptNoJournal: true,
    trial: false,
  };
  const engine = (): Engine =>
    lvmEngine.create({
      host,
      clock: systemClock,
      log: silentLogger,
      steps: makeSteps(),
      locks: new KeyedLock(),
      nodeName: 'limits',
      runtimeDir: `${scratch}/run`,
    });
  const snapshots = () => {
    const part = engine().snapshots;
    if (!part) throw new Error('no snapshots');
    return part;
  };
  const make = async (
    sizeBytes: number,
    provisioning: 'thin' | 'thick' = 'thin',
    of?: VolumeRef,
  ): Promise<VolumeRef> => {
    const volumeId = shortId();
    const identity: VolumeIdentity = {
      name: `v-${volumeId}`,
      uid: newUid(),
      volumeId,
      sizeBytes,
      className: 'c',
      mode: 'block',
      provisioning,
      createdAt: '2026-01-01T00:00:00.000Z',
      generation: 1,
    };
    const source = of && ({ kind: 'volume', volume: of } as const);
    await engine().volumes.create({
      volume: { pool, volumeId },
      identity,
      parameters: {},
      ...(source ? { source } : {}),
    });
    return { pool, volumeId };
  };
  const attach = async (volume: VolumeRef) => (await engine().volumes.attach(volume, { readOnly: false })).device;
  const codes = async () => (await engine().pools.observe(pool)).causes.map(({ code }) => code);
  const freshPool = async () => {
    await dropLeftovers();
    pool = {
      name: `limits-${shortId()}`,
      source: { kind: 'disks', disks: [disk] },
      reservePercent: 5,
      acceptNoJournal: true,
      trial: false,
    };
    pool = { ...pool, poolId: (await engine().pools.open(pool)).poolId };
  };
  /** Of a test that failed: the others shall not fail for it. */
  const dropLeftovers = async () => {
    if ((await engine().pools.observe(pool)).present) await dropPool();
  };
  const dropPool = async () => {
    for (const { volumeId } of await engine().pools.list(pool)) {
      await engine().volumes.detach({ pool, volumeId });
      await engine().volumes.delete({ pool, volumeId });
    }
    await engine().pools.sweep(pool, { idle: true });
    await engine().pools.destroy(pool);
  };

  beforeAll(() => {
    scratch = mkdtempSync('/tmp/azekura-limits-');
    host = machineHost();
  });
  afterAll(async () => {
    await host.close();
    rmSync(scratch, { recursive: true, force: true });
  });

  it('never shows the bytes of a deleted volume in a new one, thin or thick', async () => {
    await freshPool();
    const secret = Buffer.alloc(mebibyte, 'SECRET--');
    for (const provisioning of ['thin', 'thick'] as const) {
      const old = await make(64 * mebibyte, provisioning);
      const device = await attach(old);
      writeAll(device, secret, 64);
      expect(bytesOf(device).includes('SECRET--')).toBe(true);
      await engine().volumes.detach(old);
      await engine().volumes.delete(old);
    }
    for (const provisioning of ['thin', 'thick', 'thin'] as const) {
      const fresh = await make(128 * mebibyte, provisioning);
      const device = await attach(fresh);
      if (provisioning === 'thin') writeAt(device, 1, [0, 64 * 1024 * 3, 100 * mebibyte]);
      expect(bytesOf(device).includes('SECRET--')).toBe(false);
      await engine().volumes.expand(fresh, 192 * mebibyte);
      expect(bytesOf(device).includes('SECRET--')).toBe(false);
      await engine().volumes.detach(fresh);
    }
    await dropPool();
  });

  it('full of data, fails the writer at once, leaves its neighbours alone, and goes on when there is room', async () => {
    await freshPool();
    const { capacityBytes } = await engine().pools.observe(pool);
    const neighbour = await make(64 * mebibyte);
    const thick = await make(64 * mebibyte, 'thick');
    const greedy = await make(Math.ceil(capacityBytes / mebibyte) * 2 * mebibyte);
    const devices = { neighbour: await attach(neighbour), thick: await attach(thick), greedy: await attach(greedy) };
    const block = randomBytes(mebibyte);
    for (const device of [devices.neighbour, devices.thick]) writeAll(device, block, 32);
    const before = [digest(devices.neighbour), digest(devices.thick)];
    // The pool is extended as an agent does it, until the group has no more.
    while ((await engine().pools.maintain?.(pool))?.length) expect(await codes()).not.toContain('PoolNeedsRepair');
    let written = 0;
    let problem: NodeJS.ErrnoException | undefined;
    const fd = openSync(devices.greedy, constants.O_WRONLY | constants.O_DSYNC);
    try {
      for (; ; written++) {
        if (written % 256 === 0) await engine().pools.maintain?.(pool);
        writeSync(fd, block, 0, mebibyte, written * mebibyte);
      }
    } catch (error) {
      problem = error as NodeJS.ErrnoException;
    } finally {
      closeSync(fd);
    }
    expect(['ENOSPC', 'EIO']).toContain(problem?.code);
    const seen = await engine().pools.observe(pool);
    expect(seen.present).toBe(true);
    expect(seen.freeBytes).toBeLessThan(capacityBytes * 0.1);
    expect([digest(devices.neighbour), digest(devices.thick)]).toEqual(before);
    // What has its room already can be written anew.
    for (const device of [devices.neighbour, devices.thick]) writeAll(device, block, 16);
    await engine().volumes.detach(neighbour);
    await engine().volumes.delete(neighbour);
    writeAt(devices.greedy, 1, [written * mebibyte]);
    console.log(`full after ${written} MiB of ${Math.round(capacityBytes / mebibyte)} with ${problem?.code}`);
    await dropPool();
  });

  it('full of metadata, says so, is repaired as soon as nothing uses it, and has lost nothing that was flushed', async () => {
    await freshPool();
    const sizeBytes = 640 * mebibyte;
    const volume = await make(sizeBytes);
    const device = await attach(volume);
    const places = Array.from({ length: 64 }, (_, index) => index * 252 * chunkBytes);
    const reach = places.filter((at) => at < sizeBytes - chunkBytes);
    const bulk = openSync(device, constants.O_WRONLY);
    for (let at = 0; at < sizeBytes; at += chunkBytes) writeSync(bulk, Buffer.alloc(4096, 1), 0, 4096, at);
    fsyncSync(bulk);
    closeSync(bulk);
    const clones: VolumeRef[] = [];
    for (let count = 0; count < 14; count++) clones.push(await make(sizeBytes, 'thin', volume));
    let round = 0;
    let stopped = false;
    const kept: string[] = [];
    while (!stopped && round < 200) {
      round += 1;
      const snapshotId = shortId();
      const ref = { ...volume, snapshotId };
      try {
        await snapshots().cut(ref);
        await snapshots().commit(ref, {
          name: snapshotId,
          uid: newUid(),
          snapshotId,
          volumeId: volume.volumeId,
          sizeBytes,
          cutAt: '2026-01-01T00:00:00.000Z',
          consistency: 'crash',
        });
        kept.push(snapshotId);
        writeAt(device, round % 256, reach);
      } catch (error) {
        // LVM makes no more snapshots when there is hardly any metadata left: the rest is used up by writing.
        console.log(`round ${round}: ${(error as Error).message}`);
        break;
      }
      if ((await codes()).includes('PoolNeedsRepair')) stopped = true;
    }
    for (const clone of clones) {
      try {
        writeAt(await attach(clone), 3, reach);
      } catch {
        break;
      }
    }
    for (const clone of clones) await engine().volumes.detach(clone);
    expect(await codes()).toContain('PoolNeedsRepair');
    const held = openSync(device, constants.O_RDONLY);
    await expectError(engine().pools.open(pool), 'FailedPrecondition', 'PoolNeedsRepair');
    closeSync(held);
    await engine().pools.open(pool);
    const after = await engine().pools.observe(pool);
    expect(after).toMatchObject({ present: true });
    expect(after.causes.map(({ code }) => code)).not.toContain('PoolNeedsRepair');
    const again = await attach(volume);
    // Written and flushed before anything went wrong.
    const fd = openSync(again, constants.O_RDONLY);
    const byte = Buffer.alloc(1);
    for (const at of [chunkBytes, 5 * chunkBytes, 500 * mebibyte + chunkBytes]) {
      readSync(fd, byte, 0, 1, at);
      expect(byte[0]).toBe(1);
    }
    closeSync(fd);
    writeAt(again, 7, reach);
    expect((await engine().volumes.observe(volume)).snapshotIds.length).toBeGreaterThanOrEqual(kept.length - 1);
    console.log(`metadata was full after ${round} snapshots`);
    await dropPool();
  });
});

function writeAll(device: string, block: Buffer, times: number): void {
  const fd = openSync(device, constants.O_WRONLY);
  for (let time = 0; time < times; time++) writeSync(fd, block, 0, block.length, time * block.length);
  fsyncSync(fd);
  closeSync(fd);
}

function writeAt(device: string, value: number, places: readonly number[]): void {
  const fd = openSync(device, constants.O_WRONLY);
  try {
    for (const at of places) writeSync(fd, Buffer.alloc(4096, value), 0, 4096, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function digest(device: string): string {
  return createHash('sha256')
    .update(bytesOf(device).subarray(0, 32 * mebibyte))
    .digest('hex');
}
