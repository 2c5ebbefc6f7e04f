import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { FakeClock } from '../../lib/fake-clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { AzekuraError } from '../../model/errors.ts';
import { change } from '../change.ts';
import { openLmdbStore } from '../lmdb/lmdb-store.ts';
import type { LocalStore, Store } from '../store.ts';
import { ClassCopies } from './classes.ts';

const folders: string[] = [];
let local: LocalStore;
let remote: LocalStore;
let classes: ClassCopies;
let away: boolean;
beforeEach(async () => {
  local = await open();
  remote = await open();
  away = false;
  await remote.create({ kind: 'Class', metadata: { name: 'fast' }, spec: { isDefault: true, filesystem: 'ext4' } });
  const cluster: Pick<Store, 'list'> = {
    list: (kind, options) =>
      away ? Promise.reject(new AzekuraError('Unavailable', 'away')) : remote.list(kind, options),
  };
  classes = new ClassCopies({ local, remote: cluster as Store, clock: new FakeClock(), log: silentLogger });
  await classes.refresh();
});
afterEach(async () => {
  await classes.stop();
  await local.close();
  await remote.close();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

async function open(): Promise<LocalStore> {
  const path = await mkdtemp(join(tmpdir(), 'azekura-classes-'));
  folders.push(path);
  return openLmdbStore({ path, clock: systemClock });
}

describe('the classes of the cluster on a node', () => {
  it('are copied, changed and removed as they are there', async () => {
    expect(await local.get('Class', 'fast')).toMatchObject({ spec: { isDefault: true, filesystem: 'ext4' } });
    await change(remote, 'Class', 'fast', ({ spec }) => ({ spec: { ...spec, provisioning: 'thick' as const } }));
    await remote.create({ kind: 'Class', metadata: { name: 'slow' }, spec: {} });
    await classes.refresh();
    expect((await local.list('Class')).items.map(({ spec }) => spec.provisioning)).toEqual(['thick', 'thin']);
    await remote.delete('Class', 'fast');
    await classes.refresh();
    expect((await local.list('Class')).items.map(({ metadata }) => metadata.name)).toEqual(['slow']);
  });

  it('stay while the cluster does not answer', async () => {
    away = true;
    await classes.refresh();
    expect(await local.find('Class', 'fast')).toBeDefined();
  });

  it('are not written again when nothing changed', async () => {
    const before = (await local.list('Class')).resourceVersion;
    await classes.refresh();
    expect((await local.list('Class')).resourceVersion).toBe(before);
  });
});
