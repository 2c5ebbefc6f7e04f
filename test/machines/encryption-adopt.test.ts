import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Machine } from '../../lab/machines/index.ts';
import type { Volume } from '../../src/model/kinds.ts';
import { bundle } from './bundle.ts';
import { Sealed } from './sealed.ts';

/* Encrypted volumes whose objects are lost, with the whole data dir, are adopted from their pools; then their keys are given again. */
const long = process.env.AZEKURA_LONG === '1';

describe.skipIf(!long)(`adopting encrypted volumes${long ? '' : ' (skipped: AZEKURA_LONG=1 runs it)'}`, () => {
  let sealed: Sealed;
  let machine: Machine;
  let lostId = '';
  const run = (...words: readonly string[]) => sealed.azekura.run(...words);
  const create = (name: string, engine: string, pool: string) =>
    run('volume', 'create', name, '--size', '64Mi', '--class', engine, '--pool', pool, '--key-file', '/run/keys/one');
  const csi = async (verb: 'use' | 'leave', secrets: Readonly<Record<string, string>> = {}) => {
    const argv = ['node', '/shared/csi-keys.mjs', `${sealed.dataDir}/csi/csi.sock`, verb, 'secret'];
    return (await machine.run(argv, { input: JSON.stringify(secrets), deadlineMs: 120_000 })).stderr;
  };

  beforeAll(async () => {
    sealed = await Sealed.start('2G', '2G');
    ({ machine } = sealed);
    await sealed.addPools();
    await bundle('csi-keys.ts', sealed.lab.shared);
    for (const [name, engine, pool] of [
      ['db-file', 'file', 'main'],
      ['db-lvm', 'lvm', 'vg'],
      ['lost', 'file', 'next'],
      ['binned', 'lvm', 'vg2'],
    ] as const) {
      await create(name, engine, pool);
      await sealed.inside(name, `echo ${sealed.marker} >file`);
    }
    for (const name of ['db-file', 'db-lvm']) {
      await run('snapshot', 'create', name, `${name}-early`);
      await sealed.inside(name, 'echo later >file');
      await run('volume', 'rotate-key', name, '--new-key-file', '/run/keys/two');
    }
    await run('volume', 'delete', 'binned');
    await run('pool', 'cordon', 'next');
    expect(await csi('use', { key: sealed.keys.three })).toBe('');
    await machine.sh(`echo ${sealed.marker} >/run/csi/secret/mount/f; sync`);
    expect(await csi('leave')).toBe('');
    lostId = await sealed.idOf('lost');
    await sealed.azekura.down('TERM');
    await machine.sh(`rm -rf ${sealed.dataDir}; echo gone >/data/next/volumes/${lostId}/identity.json`);
    await sealed.take('one', 'two', 'three', 'wrong');
    await sealed.up([]);
    await run('pool', 'add', 'main', '/data/pool');
    await sealed.addPools();
  }, 600_000);
  afterAll(() => sealed?.lab.down());

  it('needs no key', async () => {
    const dry = await run('pool', 'adopt', 'vg', '--all', '--dry-run');
    expect(dry).toMatch(/would adopt volume\/db-lvm \(64Mi, id \w+\): with snapshot db-lvm-early/);
    for (const pool of ['main', 'vg2']) await run('pool', 'adopt', pool, '--all');
    await run('pool', 'adopt', 'vg', 'db-lvm', '--key-file', '/run/keys/three');
    const { items } = await sealed.azekura.json<{ items: Volume[] }>('volume', 'list');
    const seen = items.map(({ metadata, spec }) => [
      metadata.name,
      spec.policy.encryption,
      spec.policy.encryptionKeyFile,
    ]);
    expect(seen.sort()).toEqual([
      ['db-file', 'luks2', '/run/keys/two'],
      ['db-lvm', 'luks2', '/run/keys/three'],
      ['secret', 'luks2', undefined],
    ]);
  });

  it('leaves what has no key alone and says so; a snapshot from before a change of key goes back in its place', async () => {
    await sealed.expectKeyNeeded('db-file', 'two');
    await sealed.take('three');
    expect(await sealed.refusal('volume', 'mount', 'db-lvm', '/mnt/db-lvm')).toContain('no file /run/keys/three');
    await run('volume', 'umount', 'db-lvm');
    // What the volume had as two lies there now.
    await sealed.give('three', 'two');
    for (const name of ['db-file', 'db-lvm']) {
      await run('volume', 'restore', name, `${name}-early`);
      expect(await sealed.inside(name, 'cat file')).toBe(sealed.marker);
    }
  });

  it('gives back what lay in the bin', async () => {
    await run('volume', 'undelete', 'binned');
    await sealed.expectKeyNeeded('binned', 'one');
    expect(await sealed.inside('binned', 'cat file')).toBe(sealed.marker);
  });

  it('knows an encrypted volume whose identity is lost by its header', async () => {
    const words = ['pool', 'adopt', 'next', lostId, '--as', 'found', '--key-file', '/run/keys/one'];
    expect(await run(...words)).toMatch(/adopted volume\/found \(64Mi,/);
    await sealed.expectKeyNeeded('found', 'one');
    expect(await sealed.inside('found', 'cat file')).toBe(sealed.marker);
  });

  it('takes the key of a Secret with the next request to stage', async () => {
    expect(await csi('use')).toContain('no key came with a request to stage it');
    expect(await csi('use', { key: sealed.keys.wrong })).toContain('does not open it');
    expect(await csi('use', { key: sealed.keys.three })).toBe('');
    expect(await machine.sh('cat /run/csi/secret/mount/f')).toBe(sealed.marker);
    expect(await csi('leave')).toBe('');
  });
});
