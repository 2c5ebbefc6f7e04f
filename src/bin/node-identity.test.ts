import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { finalizers } from '../model/names.ts';
import { openLmdbStore } from '../store/lmdb/lmdb-store.ts';
import { newAttachment, newReplica } from '../store/mirror/fixture.ts';
import type { LocalStore } from '../store/store.ts';
import { takeOver } from './node-identity.ts';

let path: string;
let store: LocalStore;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'azekura-take-over-'));
  store = await openLmdbStore({ path, clock: systemClock });
  await store.create({ kind: 'Node', metadata: { name: 'one' }, spec: {} });
  await store.create(newReplica('v'));
  await store.create(
    newAttachment('v', { origin: 'mount', staged: true, published: [{ path: '/mnt', readOnly: false }] }),
  );
});
afterEach(async () => {
  await store.close();
  await rm(path, { recursive: true });
});

describe('taking a data folder over', () => {
  it('gives what one machine had to the Kubernetes node, uids and mounts unchanged', async () => {
    const replica = await store.get('Replica', 'v-0');
    const attachment = await store.get('Attachment', 'v-one');
    await takeOver(store, 'worker-1.example.org');
    await takeOver(store, 'worker-1.example.org');
    expect(await store.get('Replica', 'v-0')).toMatchObject({
      metadata: { uid: replica.metadata.uid },
      spec: { nodeName: 'worker-1.example.org' },
    });
    const [moved, ...others] = (await store.list('Attachment')).items;
    expect(others).toEqual([]);
    expect(moved).toMatchObject({
      metadata: { uid: attachment.metadata.uid, finalizers: [finalizers.agent] },
      spec: { nodeName: 'worker-1.example.org', published: [{ path: '/mnt', readOnly: false }] },
    });
    expect((await store.list('Node')).items).toEqual([]);
  });

  it('does nothing when the names are the same', async () => {
    const before = (await store.list('Attachment')).resourceVersion;
    await takeOver(store, 'one');
    expect((await store.list('Attachment')).resourceVersion).toBe(before);
  });

  it('refuses the folder of another node of a cluster', async () => {
    const replica = await store.get('Replica', 'v-0');
    const { resourceVersion } = replica.metadata;
    const copy = { ...replica, metadata: { ...replica.metadata, finalizers: [finalizers.agent, finalizers.mirror] } };
    await store.put(copy, resourceVersion);
    await expect(takeOver(store, 'two')).rejects.toMatchObject({ code: 'FailedPrecondition' });
    expect((await store.get('Replica', 'v-0')).spec.nodeName).toBe('one');
  });
});
