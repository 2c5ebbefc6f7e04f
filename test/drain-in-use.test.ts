import { closeSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CliBench, execute, whyNot } from './cli-bench.ts';

/** A pool is emptied while its volumes are in use: a raw one that is only read moves below its readers, others wait. */
describe.skipIf(whyNot)(`draining a pool whose volumes are in use${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  let bench: CliBench;
  let reader = -1;
  const word = Buffer.alloc(4 * 2 ** 20, 'read while it moves ');
  const read = () => {
    const bytes = Buffer.alloc(word.length);
    readSync(reader, bytes, 0, bytes.length, 0);
    return bytes;
  };

  beforeAll(async () => {
    bench = new CliBench();
    await bench.up('--pool-size', '600Mi');
    for (const name of ['shown', 'written'])
      await bench.ok('volume', 'create', name, '--size', '48Mi', '--class', 'local-ext4');
    await bench.ok('volume', 'create', 'raw', '--size', '16Mi', '--block');
    await bench.ok('volume', 'mount', 'raw', bench.path('mnt', 'raw'));
    const writer = openSync(bench.path('mnt', 'raw'), 'r+');
    writeSync(writer, word, 0, word.length, 0);
    fsyncSync(writer);
    closeSync(writer);
    await bench.ok('snapshot', 'create', 'raw', 'kept');
    await bench.ok('volume', 'umount', 'raw');
    await bench.ok('volume', 'mount', 'raw', bench.path('mnt', 'raw'), '--read-only');
    await bench.ok('volume', 'mount', 'shown', bench.path('mnt', 'shown'), '--read-only');
    await bench.ok('volume', 'mount', 'written', bench.path('mnt', 'written'));
    await bench.ok('pool', 'add', 'other', bench.path('other.img'), '--size', '600Mi', '--accept-no-journal');
    reader = openSync(bench.path('mnt', 'raw'), 'r');
  }, 120_000);
  afterAll(async () => {
    if (reader >= 0) closeSync(reader);
    await bench.close();
  });

  const poolOf = async (name: string) => (await bench.json('volume', 'show', name)).status.replicas[0]?.poolName;
  const deviceOf = async (name: string) => {
    const { items } = await bench.json('volume', 'list');
    const id = items.find((volume: { metadata: { name: string } }) => volume.metadata.name === name).status.volumeId;
    const loops = (await execute('losetup', ['-nO', 'NAME,BACK-FILE,DIO'])).out.split('\n');
    return loops.filter((line) => line.includes(`/${id}/data`) && line.includes(bench.folder));
  };

  it('a dry run says what moves, and what cannot and why', async () => {
    const said = await bench.ok('pool', 'drain', 'trial', '--dry-run');
    expect(said).toContain('move volume raw to other');
    for (const name of ['shown', 'written'])
      expect(said).toMatch(
        new RegExp(`volume ${name} cannot move: .*attached; engine file moves only what is not in use`),
      );
  });

  it('a raw block volume that is only read moves below its readers', async () => {
    const [before = ''] = await deviceOf('raw');
    await bench.ok('pool', 'drain', 'trial', '--no-wait');
    await expect.poll(() => poolOf('raw'), { timeout: 60_000 }).toBe('other');
    await expect.poll(() => deviceOf('raw'), { timeout: 60_000 }).not.toContain(before);
    const after = await deviceOf('raw');
    expect(after).toHaveLength(1);
    expect(after[0]?.split(' ')[0]).toBe(before.split(' ')[0]);
    expect(after[0]).toMatch(/ 1$/);
    expect(read().equals(word)).toBe(true);
    await expect
      .poll(async () => (await bench.json('pool', 'show', 'trial')).status.volumes, { timeout: 60_000 })
      .toBe(2);
    expect((await bench.json('snapshot', 'show', 'kept')).spec.poolName).toBe('other');
    expect((await bench.json('volume', 'show', 'raw')).status.causes).toEqual([]);
  });

  it('the others move when they are unmounted, and the drain ends', async () => {
    for (const name of ['shown', 'written']) {
      expect(await poolOf(name)).toBe('trial');
      await bench.ok('volume', 'umount', name);
      await expect.poll(() => poolOf(name), { timeout: 60_000 }).toBe('other');
    }
    expect(read().equals(word)).toBe(true);
    await expect
      .poll(async () => (await bench.json('pool', 'show', 'trial')).status.volumes, { timeout: 60_000 })
      .toBe(0);
  });
});
