import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../lab/workbench.ts';
import type { VolumeIdentity } from '../src/engines/contract.ts';
import { encodePool, encodeSnapshot, encodeVolume } from '../src/engines/file/format.ts';
import { poolFile, recycledPlace, snapshotPlace, type VolumePlace, volumePlace } from '../src/engines/file/layout.ts';
import type { Host } from '../src/host/host.ts';
import { createHost } from '../src/host/linux.ts';
import { systemClock } from '../src/lib/clock.ts';
import { silentLogger } from '../src/lib/log.ts';
import { exportVolume, mountVolume, scan, unmount } from '../src/rescue/index.ts';

const run = promisify(execFile);
const createdAt = '2026-01-01T00:00:00.000Z';
const imageBytes = 512 * 2 ** 20;
const volumeBytes = 320 * 2 ** 20;

let folder: string;
let host: Host;

beforeEach(async () => {
  folder = await mkdtemp('/var/tmp/azekura-rescue-');
  host = createHost({ log: silentLogger, clock: systemClock });
});

afterEach(async () => {
  await host.close();
  // A lab that starts beside this holds a copy of every mount for a moment.
  await eventually(async () => expect(await left()).toEqual([]), 30_000);
  await rm(folder, { recursive: true, force: true });
});

/** Mounts and loop devices of this test that still stand. */
async function left(): Promise<string[]> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  const { stdout } = await run('losetup', ['--list', '--noheadings', '--output', 'NAME,BACK-FILE']);
  return [...mounts.split('\n'), ...stdout.split('\n')].filter((line) => line.includes(folder));
}

function identity(volumeId: string, part: Partial<VolumeIdentity> = {}): VolumeIdentity {
  return {
    name: volumeId,
    uid: `uid-${volumeId}`,
    volumeId,
    sizeBytes: volumeBytes,
    className: 'local-xfs',
    mode: 'filesystem',
    filesystem: 'xfs',
    provisioning: 'thin',
    createdAt,
    generation: 1,
    ...part,
  };
}

/** Mounts with the tools of the system, so that the test does not check rescue's mounts with rescue's mounts. */
async function mounted<T>(device: string, work: (at: string) => Promise<T>): Promise<T> {
  const at = await mkdtemp(`${folder}/mnt-`);
  await run('mount', ['-o', 'loop', device, at]);
  try {
    return await work(at);
  } finally {
    await run('umount', [at]);
    await rm(at, { recursive: true });
  }
}

/** A pool image with a pool in it, made with mkfs and the functions of the format only. */
async function makeImage(image: string, fill: (root: string) => Promise<void>): Promise<void> {
  await writeFile(image, '');
  await truncate(image, imageBytes);
  await run('mkfs.xfs', ['-q', '-s', 'size=4096', '-m', 'reflink=1', image]);
  await mounted(image, async (root) => {
    const pool = {
      id: path.basename(image, '.img'),
      name: 'main',
      nodeName: 'node',
      engine: 'file',
      createdAt,
    } as const;
    await writeFile(path.join(root, poolFile), encodePool(pool));
    await mkdir(path.join(root, 'volumes'));
    await mkdir(path.join(root, 'recycled'));
    await fill(root);
  });
}

/** A sparse volume with a file system and one file of known content in it. */
async function putVolume(place: VolumePlace, value: VolumeIdentity, content: string): Promise<void> {
  await mkdir(place.folder, { recursive: true });
  await writeFile(place.identity, encodeVolume(value));
  await writeFile(place.data, '');
  await truncate(place.data, value.sizeBytes);
  const type = value.filesystem ?? 'xfs';
  await run(`mkfs.${type}`, ['-q', ...(type === 'xfs' ? ['-s', 'size=4096'] : ['-b', '4096']), place.data]);
  await mounted(place.data, (root) => writeFile(path.join(root, 'hello'), content));
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(file)) hash.update(piece as Buffer);
  return hash.digest('hex');
}

const deps = () => ({ host, log: silentLogger, scratchDir: `${folder}/scratch` });

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)(`rescue of a pool image${isRoot ? '' : ' (skipped: not root)'}`, () => {
  it('lists, mounts and exports with the same bytes, and leaves the image as it was', async () => {
    const image = `${folder}/pool.img`;
    let expected = '';
    await makeImage(image, async (root) => {
      const db = volumePlace(root, 'db');
      await putVolume(db, identity('db', { claim: { namespace: 'shop', name: 'data' } }), 'monday');
      const monday = snapshotPlace(db, 's1');
      await mkdir(monday.folder, { recursive: true });
      await run('cp', ['--reflink=always', db.data, monday.data]);
      const cut = {
        name: 'monday',
        uid: 'u',
        snapshotId: 's1',
        volumeId: 'db',
        sizeBytes: volumeBytes,
        cutAt: createdAt,
      };
      await writeFile(monday.identity, encodeSnapshot({ ...cut, consistency: 'filesystem' }));
      expected = await sha256(monday.data);
      await mounted(db.data, (at) => writeFile(path.join(at, 'hello'), 'tuesday'));
      await putVolume(volumePlace(root, 'web'), identity('web', { filesystem: 'ext4' }), 'ext4 here');
      await putVolume(
        recycledPlace(root, 'old'),
        identity('old', { recycled: { deletedAt: createdAt, expiresAt: createdAt } }),
        'old',
      );
      await putVolume(volumePlace(root, 'torn'), identity('torn'), 'unlabelled');
      await writeFile(volumePlace(root, 'torn').identity, encodeVolume(identity('torn')).replace('"torn"', '"tarn"'));
    });
    const before = await sha256(image);

    const report = await scan({ ...deps(), paths: [image] });
    expect(report.warnings).toEqual([]);
    expect(report.pools).toMatchObject([
      { place: image, kind: 'image', poolId: 'pool', journalDirty: false, volumes: 4 },
    ]);
    expect(report.volumes.map((volume) => [volume.volumeId, volume.recycled, volume.identity?.name])).toEqual(
      expect.arrayContaining([
        ['db', false, 'db'],
        ['web', false, 'web'],
        ['old', true, 'old'],
        ['torn', false, undefined],
      ]),
    );
    expect(report.volumes.find(({ volumeId }) => volumeId === 'torn')?.problem).toContain('checksum is wrong');
    await expect.poll(left, { timeout: 30_000 }).toEqual([]);

    const target = `${folder}/look`;
    await mountVolume({ ...deps(), path: image, volume: 'shop/data', target });
    expect(await readFile(`${target}/hello`, 'utf8')).toBe('tuesday');
    await expect(writeFile(`${target}/new`, '')).rejects.toMatchObject({ code: 'EROFS' });
    await unmount({ ...deps(), target });
    await mountVolume({ ...deps(), path: image, volume: 'db', snapshot: 'monday', target });
    expect(await readFile(`${target}/hello`, 'utf8')).toBe('monday');
    await unmount({ ...deps(), target });
    await mountVolume({ ...deps(), path: image, volume: 'web', target });
    expect(await readFile(`${target}/hello`, 'utf8')).toBe('ext4 here');
    await unmount({ ...deps(), target });
    await mountVolume({ ...deps(), path: image, volume: 'torn', target });
    expect(await readFile(`${target}/hello`, 'utf8')).toBe('unlabelled');
    await unmount({ ...deps(), target });

    const to = `${folder}/export.img`;
    let progress = 0;
    const result = await exportVolume({
      ...deps(),
      path: image,
      volume: 'db',
      snapshot: 's1',
      to,
      onProgress: (done) => (progress = done),
    });
    expect(await sha256(to)).toBe(expected);
    expect(progress).toBe(result.dataBytes);
    const exported = await stat(to);
    expect(exported.size).toBe(volumeBytes);
    expect(exported.blocks * 512).toBeLessThan(volumeBytes / 2);
    await expect(exportVolume({ ...deps(), path: image, volume: 'db', to })).rejects.toMatchObject({
      code: 'AlreadyExists',
    });
    await exportVolume({ ...deps(), path: image, volume: 'db', to, force: true });
    expect(await sha256(to)).not.toBe(expected);
    expect(existsSync(`${to}.partial`)).toBe(false);

    expect(await sha256(image)).toBe(before);
  });

  it('reads through the mount of a running system, and refuses what is being written', async () => {
    const image = `${folder}/pool.img`;
    await makeImage(image, (root) => putVolume(volumePlace(root, 'db'), identity('db'), 'hello'));
    await mounted(image, async (root) => {
      await putVolume(volumePlace(root, 'fresh'), identity('fresh'), 'made while mounted');
      const report = await scan({ ...deps(), paths: [image] });
      expect(report.volumes.map(({ volumeId }) => volumeId).sort()).toEqual(['db', 'fresh']);
      await mounted(volumePlace(root, 'db').data, async () => {
        const inUse = { ...deps(), path: image, volume: 'db', to: `${folder}/no.img` };
        await expect(exportVolume(inUse)).rejects.toMatchObject({ code: 'FailedPrecondition' });
        expect(existsSync(inUse.to)).toBe(false);
      });
    });
  });

  it('shows an image that was not unmounted cleanly without replaying, and replays on a copy when told', async () => {
    const running = `${folder}/running.img`;
    const image = `${folder}/pool.img`;
    await makeImage(running, (root) => putVolume(volumePlace(root, 'db'), identity('db'), 'before the cut'));
    await mounted(running, async (root) => {
      const { data } = volumePlace(root, 'db');
      await mounted(data, async (at) => {
        await writeFile(`${at}/hello`, 'in the journal');
        await run('sync', ['-f', at]);
        await run('sync', ['-f', root]);
        await run('cp', ['--sparse=always', running, image]);
      });
    });
    const before = await sha256(image);
    const report = await scan({ ...deps(), paths: [image] });
    expect(report.pools[0]?.journalDirty).toBe(true);
    expect(report.warnings.join()).toContain('without replaying its journal');
    expect(await sha256(image)).toBe(before);

    const target = `${folder}/look`;
    const result = await mountVolume({ ...deps(), path: image, volume: 'db', target, writable: true, replay: true });
    expect(await readFile(`${target}/hello`, 'utf8')).toBe('in the journal');
    expect(result.warnings).toEqual([]);
    await unmount({ ...deps(), target });
  });

  it('chooses the newest of two copies', async () => {
    const older = `${folder}/older.img`;
    const newer = `${folder}/newer.img`;
    await makeImage(newer, (root) => putVolume(volumePlace(root, 'db'), identity('db', { generation: 5 }), 'newer'));
    await makeImage(older, (root) => putVolume(volumePlace(root, 'db'), identity('db', { generation: 4 }), 'older'));
    const report = await scan({ ...deps(), paths: [folder] });
    expect(report.volumes.map(({ place, newest, copies }) => [place, newest, copies])).toEqual([
      [newer, true, 2],
      [older, false, 2],
    ]);
    const target = `${folder}/look`;
    await mountVolume({ ...deps(), path: folder, volume: 'db', target });
    expect(await readFile(`${target}/hello`, 'utf8')).toBe('newer');
    await unmount({ ...deps(), target });
  });

  it('reads a whole disk that is not mounted', async () => {
    const image = `${folder}/disk`;
    await makeImage(image, (root) => putVolume(volumePlace(root, 'db'), identity('db'), 'on a disk'));
    const { stdout } = await run('losetup', ['--find', '--show', '--sector-size', '4096', image]);
    const disk = stdout.trim();
    const target = `${folder}/look`;
    try {
      const report = await scan({ ...deps(), paths: [disk] });
      expect(report.pools).toMatchObject([{ place: disk, kind: 'device', volumes: 1 }]);
      await mountVolume({ ...deps(), path: disk, volume: 'db', target });
      expect(await readFile(`${target}/hello`, 'utf8')).toBe('on a disk');
      await unmount({ ...deps(), target });
    } finally {
      await run('losetup', ['--detach', disk]);
    }
  });

  it('gives everything back when it is interrupted', async () => {
    const image = `${folder}/pool.img`;
    await makeImage(image, (root) => putVolume(volumePlace(root, 'db'), identity('db'), 'hello'));
    const interrupt = new AbortController();
    const to = `${folder}/export.img`;
    const interrupted = exportVolume({
      ...deps(),
      path: image,
      volume: 'db',
      to,
      signal: interrupt.signal,
      onProgress: () => interrupt.abort(),
    });
    await expect(interrupted).rejects.toMatchObject({ code: 'Aborted' });
    expect(existsSync(to)).toBe(false);
    expect(existsSync(`${to}.partial`)).toBe(false);
    await expect.poll(left, { timeout: 30_000 }).toEqual([]);
  });
});
