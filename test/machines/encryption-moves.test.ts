import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Machine } from '../../lab/machines/index.ts';
import { eventually } from '../../lab/workbench.ts';
import { Sealed } from './sealed.ts';

/*
 * Encrypted volumes through what happens to volumes: they move to other pools, rest in the bin, are cut in groups, and go
 * back to what they were; on pools of files and on volume groups.
 */
const long = process.env.AZEKURA_LONG === '1';
const kinds = [
  { engine: 'file', here: 'main', there: 'next' },
  { engine: 'lvm', here: 'vg', there: 'vg2' },
] as const;

describe.skipIf(!long)(`encrypted volumes${long ? '' : ' (skipped: AZEKURA_LONG=1 runs it)'}`, () => {
  let sealed: Sealed;
  let machine: Machine;
  const run = (...words: readonly string[]) => sealed.azekura.run(...words);
  const create = (name: string, engine: string, pool: string, ...more: readonly string[]) =>
    run('volume', 'create', name, '--class', engine, '--pool', pool, '--key-file', '/run/keys/one', ...more);

  beforeAll(async () => {
    sealed = await Sealed.start('3G', '3G');
    ({ machine } = sealed);
    await sealed.addPools();
  });
  afterAll(() => sealed?.lab.down());

  describe.each(kinds)('of engine $engine', ({ engine, here, there }) => {
    const db = `db-${engine}`;

    it('move to another pool without their key, over a kill, with what their snapshots need', {
      timeout: 600_000,
    }, async () => {
      await create(db, engine, here, '--size', '400Mi');
      await sealed.inside(
        db,
        `echo ${sealed.marker} >file; dd if=/dev/urandom of=bulk bs=1M count=300 status=none; sha256sum bulk >sum`,
      );
      await run('snapshot', 'create', db, `${db}-early`);
      await sealed.inside(db, 'echo later >file');
      await run('volume', 'rotate-key', db, '--new-key-file', '/run/keys/two');
      await sealed.take('one', 'two');
      await run('pool', 'drain', here, '--no-wait');
      const begun =
        engine === 'file'
          ? `test -e /data/next/tmp/create-${await sealed.idOf(db)}/move.json`
          : 'lvs --noheadings -o lv_tags | grep -q azk.state=new';
      await sealed.azekura.down('KILL', begun);
      await sealed.up([]);
      await eventually(async () => expect(await sealed.volumesOn(here)).toBe(0), 240_000, 1_000);
      if (engine === 'file')
        expect(await machine.sh("grep -c 'a move goes on where it ended' /data/log")).not.toBe('0');
      const header = await sealed.headerOf(db, there);
      expect([await sealed.opens(header, 'one'), await sealed.opens(header, 'two')]).toEqual([false, true]);
      await sealed.expectKeyNeeded(db, 'two');
      // Its own header is older than the present key, and it was never attached here before.
      await run('volume', 'restore', db, `${db}-early`);
      expect(await sealed.inside(db, 'cat file; sha256sum --quiet -c sum')).toBe(sealed.marker);
      await run('pool', 'drain', here, '--cancel');
      await sealed.give('one');
    });

    it('rest in the bin and come back without their key, and leave no header when they go', async () => {
      await run('volume', 'delete', db);
      await sealed.take('two');
      await run('volume', 'undelete', db);
      await sealed.expectKeyNeeded(db, 'two');
      expect(await sealed.inside(db, 'cat file')).toBe(sealed.marker);
      const header = await sealed.headerOf(db, there);
      expect(await machine.sh(`ls ${header}`)).toBe(header);
      await run('snapshot', 'delete', `${db}-early`);
      await run('volume', 'delete', db, '--skip-recycle-bin');
      expect(await machine.sh(`ls ${header} 2>/dev/null || true`)).toBe('');
    });

    it('are cut in groups at one instant, and go back to it in place', { timeout: 300_000 }, async () => {
      const names = [`a-${engine}`, `b-${engine}`] as const;
      for (const name of names) {
        await create(name, engine, here, '--size', '64Mi');
        await run('volume', 'mount', name, `/mnt/${name}`);
      }
      const writer = machine.start([
        'sh',
        '-c',
        `i=0; while :; do i=$((i+1)); for v in $1 $2; do echo $i >>/mnt/$v/log && sync /mnt/$v/log || exit 1; done; done`,
        'group-writer',
        ...names,
      ]);
      await eventually(() => machine.exec(['test', '-s', `/mnt/${names[1]}/log`]), 60_000, 200);
      await run('snapshot', 'create', '--group', `g-${engine}`, ...names);
      expect(writer.exitCode).toBeNull();
      await machine.sh("pkill -f 'group-write[r]'");
      const lines = async (name: string) => Number(await sealed.inside(name, 'wc -l <log'));
      const kept: number[] = [];
      for (const name of names) {
        await run('volume', 'umount', name);
        const key = ['--class', engine, '--key-file', '/run/keys/one'];
        await run('volume', 'create', `of-${name}`, '--from-snapshot', `g-${engine}-${name}`, ...key);
        kept.push(await lines(`of-${name}`));
      }
      const [first = 0, second = 0] = kept;
      expect(second).toBeGreaterThan(0);
      expect([second, second + 1]).toContain(first);
      for (const [index, name] of names.entries()) {
        expect(await lines(name)).toBeGreaterThanOrEqual(kept[index] ?? 0);
        await run('volume', 'restore', name, `g-${engine}-${name}`);
        expect(await lines(name)).toBe(kept[index]);
      }
    });
  });

  it('that are raw and only read move below their readers', { timeout: 300_000 }, async () => {
    await create('shown', 'file', 'next', '--size', '32Mi', '--block');
    await run('volume', 'mount', 'shown', '/run/shown');
    await machine.sh(`echo ${sealed.marker} | dd of=/run/shown conv=notrunc,fsync status=none`);
    await run('volume', 'umount', 'shown');
    await run('volume', 'mount', 'shown', '/run/shown', '--read-only');
    const mapping = await sealed.mapping('shown');
    const state = () => machine.sh(`dmsetup info -c --noheadings -o minor,open,uuid ${mapping}`);
    const before = await state();
    await sealed.take('one');
    await run('pool', 'drain', 'next');
    expect(await state()).toBe(before);
    expect(await machine.sh('losetup --noheadings -O BACK-FILE')).toContain(
      `/data/pool/volumes/${await sealed.idOf('shown')}/data`,
    );
    expect(await machine.sh(`echo 3 >/proc/sys/vm/drop_caches; head -c ${sealed.marker.length} /run/shown`)).toBe(
      sealed.marker,
    );
    await sealed.give('one');
    await run('volume', 'umount', 'shown');
    await run('volume', 'mount', 'shown', '/run/shown');
    expect(await machine.sh(`head -c ${sealed.marker.length} /run/shown`)).toBe(sealed.marker);
  });
});
