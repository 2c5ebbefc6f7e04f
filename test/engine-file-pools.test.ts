import {
  closeSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engineDeps, identityFor, poolAt } from '../lab/engine-parts.ts';
import type { Engine, PoolRef, VolumeIdentity } from '../src/engines/contract.ts';
import { expectError } from '../src/engines/contract-suite/kit.ts';
import { releaseAll } from '../src/engines/contract-suite/release.ts';
import { fileEngine } from '../src/engines/file/engine.ts';
import type { Host } from '../src/host/host.ts';
import { createHost } from '../src/host/linux.ts';
import { systemClock } from '../src/lib/clock.ts';
import { newUid, shortId } from '../src/lib/id.ts';
import { silentLogger } from '../src/lib/log.ts';

const isRoot = process.getuid?.() === 0;
const mebibyte = 2 ** 20;

describe.skipIf(!isRoot)(`pools of the engine file${isRoot ? '' : ' (skipped: not root)'}`, () => {
  let scratch: string;
  let host: Host;

  beforeEach(() => {
    scratch = mkdtempSync('/dev/shm/azekura-pools-');
    host = createHost({ log: silentLogger, clock: systemClock });
  });

  afterEach(async () => {
    await releaseAll(host, scratch);
    await host.close();
    rmSync(scratch, { recursive: true, force: true });
  });

  const engine = (): Engine => fileEngine.create(engineDeps(host, `${scratch}/run`));
  const ref = (source: PoolRef['source'], part: Partial<PoolRef> = {}): PoolRef => ({
    ...poolAt('p', source),
    ...part,
  });
  const image = (sizeBytes = 1024 * mebibyte, name = 'pool.img'): PoolRef =>
    ref({ kind: 'image', path: `${scratch}/${name}`, sizeBytes });
  const open = async (pool: PoolRef): Promise<PoolRef & { readonly path: string }> => {
    const { poolId, path } = await engine().pools.open(pool);
    return { ...pool, poolId, path };
  };
  const identity = (part: Partial<VolumeIdentity> = {}): VolumeIdentity =>
    identityFor(shortId(), { name: 'v', sizeBytes: 64 * mebibyte, ...part });
  const make = async (pool: PoolRef, part: Partial<VolumeIdentity> = {}) => {
    const described = identity(part);
    const volume = { pool, volumeId: described.volumeId };
    await engine().volumes.create({ volume, identity: described, parameters: {} });
    return volume;
  };

  describe('directories', () => {
    it('that are missing, no folders, not empty, or cannot share blocks are refused with a sentence', async () => {
      writeFileSync(`${scratch}/file`, 'x');
      mkdirSync(`${scratch}/full`);
      writeFileSync(`${scratch}/full/letter`, 'x');
      mkdirSync(`${scratch}/empty`);
      const directory = (name: string) => ref({ kind: 'directory', path: `${scratch}/${name}` });
      await expectError(engine().pools.inspect(directory('nowhere')), 'NotFound', 'PoolMissing');
      await expectError(engine().pools.inspect(directory('file')), 'FailedPrecondition');
      await expectError(engine().pools.inspect(directory('full')), 'FailedPrecondition');
      await expectError(engine().pools.open(directory('empty')), 'FailedPrecondition');
      expect(readdirSync(`${scratch}/empty`)).toEqual([]);
      expect(readdirSync(`${scratch}/full`)).toEqual(['letter']);
    });

    it('keep what is not ours when they are destroyed, and go missing when they vanish', async () => {
      const outer = await open(image());
      mkdirSync(`${outer.path}/folder`);
      const pool = await open(ref({ kind: 'directory', path: `${outer.path}/folder` }, { name: 'q' }));
      writeFileSync(`${pool.path}/mine`, 'x');
      expect((await engine().pools.observe(pool)).causes).toEqual([]);
      await engine().pools.destroy(pool);
      await engine().pools.destroy(pool);
      expect(readdirSync(pool.path)).toEqual(['mine']);
      expect((await engine().pools.observe(pool)).causes.map((cause) => cause.code)).toEqual(['PoolMissing']);
      await expectError(engine().pools.open(pool), 'Unavailable', 'PoolMissing');
    });

    it('that are read-only are observed as such', async () => {
      const outer = await open(image());
      await host.kernel('t').bindMount(outer.path, outer.path, { readOnly: true });
      const pool = ref({ kind: 'directory', path: outer.path }, { name: 'q' });
      expect((await engine().pools.observe(pool)).causes.map((cause) => cause.code)).toContain('PoolReadOnly');
      await expectError(engine().pools.inspect(pool), 'FailedPrecondition', 'PoolReadOnly');
    });
  });

  describe('images', () => {
    it('are allocated in full, have 4096-byte sectors, and come back after all has been taken down', async () => {
      const pool = await open(image());
      const { blocks, size } = statSync(`${scratch}/pool.img`);
      expect(blocks * 512).toBeGreaterThanOrEqual(size);
      const loop = (await host.loops()).find((entry) => entry.backingFile === `${scratch}/pool.img`);
      expect(loop).toMatchObject({ directIo: true, logicalBlockBytes: 4096 });
      const volume = await make(pool);
      await engine().pools.close(pool);
      expect((await engine().pools.observe(pool)).causes.map((cause) => cause.code)).toEqual(['PoolMissing']);
      await engine().pools.open(pool);
      expect((await engine().volumes.observe(volume)).present).toBe(true);
      await engine().volumes.delete(volume);
      await engine().pools.destroy(pool);
      await engine().pools.destroy(pool);
      expect(readdirSync(scratch)).toEqual(['run']);
      expect((await host.loops()).some((entry) => entry.backingFile.startsWith(scratch))).toBe(false);
    });

    it('that are too small, have no room, or are files of somebody else are refused, and nothing is left', async () => {
      await expectError(engine().pools.open(image(100 * mebibyte)), 'OutOfRange');
      await expectError(engine().pools.open(image(2 ** 50)), 'ResourceExhausted');
      writeFileSync(`${scratch}/letter`, 'dear reader');
      await expectError(
        engine().pools.open(ref({ kind: 'image', path: `${scratch}/letter`, sizeBytes: 1024 * mebibyte })),
        'FailedPrecondition',
      );
      await expectError(
        engine().pools.open(ref({ kind: 'image', path: `${scratch}/no/where`, sizeBytes: 1024 * mebibyte })),
        'NotFound',
      );
      expect(readdirSync(scratch)).toEqual(['letter']);
    });

    it('on a file system without a journal are refused unless that is accepted, and then have a standing cause', async () => {
      // tmpfs stands for all of them; the same check reads the superblock of ext4.
      const careful = { ...image(), acceptNoJournal: false };
      await expectError(engine().pools.inspect(careful), 'FailedPrecondition', 'PoolNoJournal');
      await expectError(engine().pools.open(careful), 'FailedPrecondition', 'PoolNoJournal');
      const accepted = await open(image());
      expect((await engine().pools.observe(accepted)).causes.map((cause) => cause.code)).toEqual(['PoolNoJournal']);
    });

    it('are never made anew in the place of a pool that should be there', async () => {
      const pool = await open(image());
      await engine().pools.close(pool);
      rmSync(`${scratch}/pool.img`);
      await expectError(engine().pools.open(pool), 'Unavailable', 'PoolMissing');
      expect(readdirSync(scratch)).toEqual(['run']);
    });
  });

  describe('disks', () => {
    /** A loop device stands for a disk. */
    const disk = async (name: string, sizeBytes = 1024 * mebibyte): Promise<string> => {
      await host.kernel('t').createSparse(`${scratch}/${name}`, sizeBytes);
      return (await host.kernel('t').attachLoop(`${scratch}/${name}`)).device;
    };

    it('that are blank become pools, and are found again', async () => {
      const path = await disk('disk');
      const pool = await open(ref({ kind: 'device', path }));
      const volume = await make(pool);
      await engine().pools.close(pool);
      expect((await engine().pools.open(ref({ kind: 'device', path }))).poolId).toBe(pool.poolId);
      expect((await engine().volumes.observe(volume)).present).toBe(true);
    });

    it('that hold anything are not touched unless their id is typed, and never while mounted', async () => {
      const path = await disk('disk');
      await host.exec(['mkfs.ext4', '-q', '-b', '4096', path]);
      const before = await host.kernel('t').probeFilesystem(path);
      await expectError(engine().pools.inspect(ref({ kind: 'device', path })), 'FailedPrecondition');
      await expectError(
        engine().pools.open(ref({ kind: 'device', path, confirmedId: 'something else' })),
        'FailedPrecondition',
      );
      expect(await host.kernel('t').probeFilesystem(path)).toEqual(before);

      await host.kernel('t').makeDirectory(`${scratch}/mnt`);
      await host.kernel('t').mount({ source: path, target: `${scratch}/mnt`, filesystem: 'ext4' });
      await expectError(engine().pools.open(ref({ kind: 'device', path, confirmedId: path })), 'FailedPrecondition');
      await host.kernel('t').unmount(`${scratch}/mnt`);
      expect((await host.kernel('t').probeFilesystem(path))?.uuid).toBe(before?.uuid);

      const pool = await open(ref({ kind: 'device', path, confirmedId: path }));
      expect((await engine().pools.observe(pool)).present).toBe(true);
    });

    it('with a foreign XFS that holds files are not touched without their id; another pool never', async () => {
      const path = await disk('disk');
      await host.exec(['mkfs.xfs', '-q', path]);
      await host.kernel('t').makeDirectory(`${scratch}/mnt`);
      await host.kernel('t').mount({ source: path, target: `${scratch}/mnt`, filesystem: 'xfs' });
      await host.kernel('t').writeTextFile(`${scratch}/mnt/letter`, 'dear reader');
      await host.kernel('t').unmount(`${scratch}/mnt`);
      await expectError(engine().pools.open(ref({ kind: 'device', path })), 'FailedPrecondition');
      await host.kernel('t').mount({ source: path, target: `${scratch}/mnt`, filesystem: 'xfs' });
      expect(await host.kernel('t').readTextFile(`${scratch}/mnt/letter`)).toBe('dear reader');
      await host.kernel('t').unmount(`${scratch}/mnt`);

      const pool = await open(ref({ kind: 'device', path, confirmedId: path }));
      await engine().pools.close(pool);
      const stranger = ref({ kind: 'device', path, confirmedId: path }, { poolId: newUid() });
      await expectError(engine().pools.open(stranger), 'FailedPrecondition', 'PoolForeign');
    });

    it('that are missing, no devices, or too small are refused', async () => {
      await expectError(
        engine().pools.inspect(ref({ kind: 'device', path: '/dev/no-such-disk' })),
        'NotFound',
        'PoolMissing',
      );
      await expectError(engine().pools.inspect(ref({ kind: 'device', path: '/dev/null' })), 'FailedPrecondition');
      const path = await disk('small', 64 * mebibyte);
      await expectError(engine().pools.inspect(ref({ kind: 'device', path })), 'OutOfRange');
    });
  });

  describe('that are full', () => {
    const fill = (device: string): string | undefined => {
      const fd = openSync(device, 'r+');
      try {
        const piece = Buffer.alloc(8 * mebibyte, 0x5a);
        for (let at = 0; ; at += piece.length) {
          if (writeSync(fd, piece, 0, piece.length, at) === 0) return undefined;
          if (at % (64 * mebibyte) === 0) fsyncSync(fd);
        }
      } catch (error) {
        return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
      } finally {
        closeSync(fd);
      }
    };

    it('harm nobody but the writer of thin data: thick volumes write on, deleting still works', async () => {
      const pool = await open(image(600 * mebibyte));
      const thick = await make(pool, { provisioning: 'thick' });
      const greedy = await make(pool, { sizeBytes: 4096 * mebibyte });
      const { device } = await engine().volumes.attach(greedy, { readOnly: false });
      expect(fill(device)).toMatch(/ENOSPC|EIO/);
      const own = await engine().volumes.attach(thick, { readOnly: false });
      expect(fill(own.device)).toBe('ENOSPC');
      const bytes = await host
        .kernel('t')
        .extentUsage((await engine().volumes.observe(thick)).attached?.layers[0]?.name ?? '', { sync: true });
      expect(bytes.exclusiveBytes + bytes.sharedBytes).toBeGreaterThanOrEqual(64 * mebibyte);

      await expectError(
        make(pool, { provisioning: 'thick', sizeBytes: 400 * mebibyte }),
        'ResourceExhausted',
        'PoolFull',
      );
      await expectError(engine().volumes.expand(thick, 500 * mebibyte), 'ResourceExhausted', 'PoolFull');
      expect((await engine().volumes.observe(thick)).sizeBytes).toBe(64 * mebibyte);
      expect((await engine().pools.observe(pool)).present).toBe(true);
      expect(readdirSync(pool.path)).not.toContain('ballast');

      for (const volume of [thick, greedy]) {
        await engine().volumes.detach(volume);
        await engine().volumes.delete(volume);
      }
      await engine().pools.sweep(pool, { idle: true });
      await host.kernel('t').sync(pool.path);
      await expect
        .poll(async () => (await engine().pools.observe(pool)).freeBytes, { timeout: 20_000 })
        .toBeGreaterThan(400 * mebibyte);
      expect(readdirSync(pool.path)).toContain('ballast');
    });
  });
});
