import { expect, it } from 'vitest';
import { change, changeStatus } from './change.ts';
import { type Current, eventually, newSnapshot, newVolume, ownedBy, refusal } from './contract-helpers.ts';

/** Kubernetes' garbage collector learns of new kinds every 30 s. */
const collectorMs = 90_000;

/** The rules of deletion, finalizers and owners. */
export function describeDeletion(current: Current): void {
  it('does not mind deleting what is not there', async () => {
    await current().store.delete('Volume', 'none');
  });

  it('waits for the finalizers, then forgets the object', async () => {
    const { store } = current();
    await store.create(newVolume('db', { finalizers: ['azekura.dev/a', 'azekura.dev/b'] }));
    await store.delete('Volume', 'db');
    const asked = await store.get('Volume', 'db');
    expect(asked.metadata.deletionTimestamp).toBeDefined();
    await store.delete('Volume', 'db');
    expect(await store.get('Volume', 'db')).toEqual(asked);
    expect((await refusal(store.create(newVolume('db')))).code).toBe('AlreadyExists');

    const status = await changeStatus(store, 'Volume', 'db', () => ({ phase: 'Deleting' as const }));
    expect(status?.status.phase).toBe('Deleting');
    const half = await change(store, 'Volume', 'db', () => ({ metadata: { finalizers: ['azekura.dev/b'] } }));
    expect(half?.metadata).toMatchObject({
      finalizers: ['azekura.dev/b'],
      deletionTimestamp: asked.metadata.deletionTimestamp,
    });
    const last = await change(store, 'Volume', 'db', () => ({ metadata: { finalizers: [] } }));
    expect(last?.metadata).toMatchObject({ finalizers: [], uid: asked.metadata.uid });
    expect(await store.find('Volume', 'db')).toBeUndefined();
  });

  it('notes on what stays why it goes, once, and only when the deletion is meant for it', async () => {
    const { store } = current();
    const { metadata } = await store.create(newVolume('db', { finalizers: ['azekura.dev/a'] }));
    const noted = { 'azekura.dev/why': 'one' };
    const stale = store.delete('Volume', 'db', { resourceVersion: `${metadata.resourceVersion}0` }, noted);
    expect((await refusal(stale)).code).toBe('Conflict');
    expect((await store.get('Volume', 'db')).metadata.annotations).toEqual(metadata.annotations);
    const { uid, resourceVersion } = metadata;
    await store.delete('Volume', 'db', { uid, resourceVersion }, noted);
    await store.delete('Volume', 'db', { uid }, { 'azekura.dev/why': 'two' });
    const asked = await store.get('Volume', 'db');
    expect(asked.metadata.annotations).toEqual({ ...metadata.annotations, ...noted });
    expect(asked.metadata.deletionTimestamp).toBeDefined();
  });

  it('takes no new finalizer for an object that goes', async () => {
    const { store } = current();
    await store.create(newVolume('db', { finalizers: ['azekura.dev/a'] }));
    await store.delete('Volume', 'db');
    const more = change(store, 'Volume', 'db', () => ({
      metadata: { finalizers: ['azekura.dev/a', 'azekura.dev/b'] },
    }));
    expect((await refusal(more)).code).toBe('InvalidArgument');
  });

  it('keeps an object that loses its finalizers but was not asked to go', async () => {
    const { store } = current();
    await store.create(newVolume('db', { finalizers: ['azekura.dev/a'] }));
    await change(store, 'Volume', 'db', () => ({ metadata: { finalizers: [] } }));
    expect((await store.get('Volume', 'db')).metadata.finalizers).toEqual([]);
  });

  it('asks what it owned to go, through all generations, once an owner is gone', async () => {
    const { store } = current();
    const volume = await store.create(newVolume('db', { finalizers: ['azekura.dev/a'] }));
    const child = await store.create(newSnapshot('child', [volume]));
    await store.create(newSnapshot('grandchild', [child]));
    await store.create(newSnapshot('held', [child], ['azekura.dev/a']));
    await store.create(newSnapshot('stranger', []));
    await store.delete('Volume', 'db');
    expect(await store.find('Snapshot', 'child')).toBeDefined();
    await change(store, 'Volume', 'db', () => ({ metadata: { finalizers: [] } }));
    await eventually(async () => {
      expect((await store.list('Snapshot')).items.map(({ metadata }) => metadata.name)).toEqual(['held', 'stranger']);
      expect((await store.get('Snapshot', 'held')).metadata.deletionTimestamp).toBeDefined();
    }, collectorMs);
    expect((await store.get('Snapshot', 'stranger')).metadata.deletionTimestamp).toBeUndefined();
  });

  it('keeps what still has another owner', async () => {
    const { store } = current();
    const owners = [await store.create(newVolume('a')), await store.create(newVolume('b'))];
    await store.create(newSnapshot('shared', owners));
    await store.create(newSnapshot('single', owners.slice(0, 1)));
    await store.delete('Volume', 'a');
    await eventually(async () => expect(await store.find('Snapshot', 'single')).toBeUndefined(), collectorMs);
    expect(await store.find('Snapshot', 'shared')).toBeDefined();
    await store.delete('Volume', 'b');
    await eventually(async () => expect(await store.find('Snapshot', 'shared')).toBeUndefined(), collectorMs);
  });

  it('collects what is born with, or given to, an owner that is gone', async () => {
    const { store } = current();
    const gone = await store.create(newVolume('db'));
    await store.delete('Volume', 'db');
    await store.create(newVolume('db'));
    await store.create(newSnapshot('born', [gone]));
    await store.create(newSnapshot('given', []));
    await change(store, 'Snapshot', 'given', () => ({ metadata: { ownerReferences: [ownedBy(gone)] } }));
    await eventually(async () => expect((await store.list('Snapshot')).items).toEqual([]), collectorMs);
  });
}
