import { afterEach, describe, expect, it } from 'vitest';
import { replicaName } from '../../model/names.ts';
import type { OrphanSnapshot, OrphanVolume } from '../../model/orphans.ts';
import { change } from '../../store/change.ts';
import { ControlFixture } from '../fixture.ts';

const gibibyte = 2 ** 30;
let fixture: ControlFixture;
afterEach(() => fixture.close());

function orphan(volumeId: string, part: Partial<OrphanVolume> = {}): OrphanVolume {
  return {
    volumeId,
    name: volumeId,
    uid: `uid-${volumeId}`,
    className: 'local-ext4',
    createdAt: '2026-01-02T03:04:05.000Z',
    generation: 7,
    sizeBytes: gibibyte,
    mode: 'filesystem',
    filesystem: 'ext4',
    provisioning: 'thick',
    ...part,
  };
}

function snapshot(volumeId: string, snapshotId: string, part: Partial<OrphanSnapshot> = {}): OrphanSnapshot {
  const cutAt = '2026-02-02T03:04:05.000Z';
  return { volumeId, snapshotId, name: snapshotId, cutAt, consistency: 'filesystem', sizeBytes: gibibyte, ...part };
}

async function open(volumes: OrphanVolume[], snapshots: OrphanSnapshot[] = []): Promise<ControlFixture> {
  fixture = await ControlFixture.open({ pools: ['main', 'other'] });
  fixture.orphans.set('main', { volumes, snapshots });
  return fixture;
}

const all = { all: true } as const;
const problems = (answer: { readonly conflicts: readonly { readonly volume: string; readonly problem: string }[] }) =>
  answer.conflicts.map(({ volume, problem }) => `${volume}: ${problem}`);

describe('adoptPool', () => {
  it('keeps what is known of a volume, and takes the rest from its class', async () => {
    const claim = { namespace: 'shop', name: 'data', labels: { app: 'db' } };
    const { operations, store } = await open([orphan('db', { claim, parent: 'snapshot origin/s0' })]);
    const answer = await operations.adoptPool('main', all);
    expect(answer.adopted).toEqual([
      { volume: 'db', volumeId: 'db', sizeBytes: gibibyte, recycled: false, snapshots: [] },
    ]);
    await fixture.ready('db');
    const volume = await store.get('Volume', 'db');
    expect(volume.metadata.uid).toBe('uid-db');
    expect(volume.spec).toMatchObject({
      className: 'local-ext4',
      claim,
      policy: { filesystem: 'ext4', provisioning: 'thick' },
    });
    const replica = await store.get('Replica', replicaName('db', 0));
    expect(replica.spec).toMatchObject({
      volumeUid: 'uid-db',
      volumeGeneration: 7,
      volumeCreatedAt: '2026-01-02T03:04:05.000Z',
      source: { kind: 'snapshot', volumeId: 'origin', snapshotId: 's0' },
    });
    await operations.expandVolume('db', 2 * gibibyte);
    const grown = await fixture.until('Replica', replicaName('db', 0), (one) => one?.spec.sizeBytes === 2 * gibibyte);
    expect(grown?.spec.volumeGeneration).toBe(8);
  });

  it('keeps the place of the key of encrypted volumes, or takes the one that is named', async () => {
    const encryption = { kind: 'luks2', keyFile: '/keys/old' } as const;
    const { operations, store } = await open([
      orphan('db', { encryption }),
      orphan('wal', { encryption: { kind: 'luks2' } }),
      orphan('plain'),
    ]);
    await operations.adoptPool('main', { volumes: ['db'] });
    expect((await store.get('Volume', 'db')).spec.policy).toMatchObject({
      encryption: 'luks2',
      encryptionKeyFile: '/keys/old',
    });
    await expect(operations.adoptPool('main', { volumes: ['plain'], keyFile: '/keys/new' })).rejects.toThrow(
      'nothing that is to be adopted is encrypted',
    );
    await operations.adoptPool('main', { ...all, keyFile: '/keys/new' });
    expect((await store.get('Volume', 'wal')).spec.policy.encryptionKeyFile).toBe('/keys/new');
    const { policy } = (await store.get('Volume', 'plain')).spec;
    expect([policy.encryption, policy.encryptionKeyFile]).toEqual(['none', undefined]);
  });

  it('changes nothing in a dry run', async () => {
    const { operations, store } = await open([orphan('db')], [snapshot('db', 's')]);
    const answer = await operations.adoptPool('main', { ...all, dryRun: true });
    expect(answer.adopted).toMatchObject([{ volume: 'db', snapshots: ['s'] }]);
    for (const kind of ['Volume', 'Replica', 'Snapshot'] as const) expect((await store.list(kind)).items).toEqual([]);
  });

  it('goes on where it was interrupted', async () => {
    const { operations, store } = await open([orphan('db')], [snapshot('db', 's')]);
    await store.create({
      kind: 'Volume',
      metadata: { name: 'db', annotations: { 'azekura.dev/volume-id': 'db' } },
      spec: { sizeBytes: gibibyte },
      status: { volumeId: 'db', sizeBytes: gibibyte },
    });
    expect(problems(await operations.adoptPool('main', all))).toEqual([]);
    await fixture.ready('db');
    await store.delete('Snapshot', 's');
    await fixture.until('Snapshot', 's', (one) => one === undefined);
    const again = await operations.adoptPool('main', { volumes: ['db'] });
    expect(again.adopted).toEqual([{ volume: 'db', volumeId: 'db', sizeBytes: 0, recycled: false, snapshots: ['s'] }]);
    expect((await operations.adoptPool('main', all)).adopted).toEqual([]);
  });

  it('makes a Volume again that was removed by force, of the copy that has stayed', async () => {
    const { operations, store } = await open([]);
    const { status, spec } = await fixture.volume('db');
    const policy = { ...spec.policy, mountOptions: ['noatime'] };
    await change(store, 'Replica', `${status.volumeId}-0`, (one) => ({ spec: { ...one.spec, policy } }));
    await fixture.removeByForce('db');
    await fixture.until('Volume', 'db', (volume) => volume === undefined);
    expect(problems(await operations.adoptPool('main', { ...all, dryRun: true }))).toEqual([]);
    expect(await store.find('Volume', 'db')).toBeUndefined();
    const answer = await operations.adoptPool('main', { volumes: ['db'] });
    expect(answer.adopted).toMatchObject([{ volume: 'db', volumeId: status.volumeId, sizeBytes: gibibyte }]);
    await fixture.ready('db');
    const again = await store.get('Volume', 'db');
    expect(again.status.volumeId).toBe(status.volumeId);
    expect(again.spec.policy.mountOptions).toEqual(['noatime']);
    expect((await store.list('Replica')).items).toHaveLength(1);
    expect((await operations.adoptPool('main', all)).adopted).toEqual([]);
  });

  it('names what stands in the way, and adopts the rest', async () => {
    const { operations } = await open([
      orphan('taken'),
      orphan('twice-1', { name: 'twice' }),
      orphan('twice-2', { name: 'twice' }),
      orphan('empty', { sizeBytes: 0, problem: 'its data file is missing' }),
      { volumeId: 'lost', sizeBytes: 4096, mode: 'block', provisioning: 'thin', problem: 'its identity file is gone' },
      orphan('odd', { name: '../odd' }),
      orphan('copied'),
      orphan('good', { className: 'no such class' }),
    ]);
    fixture.orphans.set('other', { volumes: [orphan('copied')], snapshots: [] });
    await operations.adoptPool('other', { ...all, dryRun: true });
    await fixture.volume('taken');
    const answer = await operations.adoptPool('main', all);
    expect(problems(answer)).toEqual([
      'taken: a volume taken exists',
      'twice: a volume twice exists',
      'empty: its data file is missing',
      'lost: its identity file is gone',
      '../odd: its name cannot be the name of a volume here',
      'copied: pool other holds another copy of it',
    ]);
    expect(answer.adopted.map(({ volumeId }) => volumeId)).toEqual(['twice-1', 'good']);
    await operations.adoptPool('main', { volumes: ['lost'], as: 'found' });
    await fixture.ready('found');
    await operations.adoptPool('main', { volumes: ['copied'] });
    await fixture.ready('copied');
    expect(problems(await operations.adoptPool('other', { volumes: ['copied'] }))).toEqual([
      'copied: volume copied on pool main is another copy of it',
    ]);
  });

  it('brings what was deleted back into the bin, for a day at least', async () => {
    const recycled = { deletedAt: '2026-01-01T00:00:00.000Z', expiresAt: '2026-01-02T00:00:00.000Z' };
    const { operations, store } = await open([orphan('old', { recycled })], [snapshot('old', 's')]);
    await operations.adoptPool('main', all);
    const [entry] = (await store.list('RecycledVolume')).items;
    expect(entry?.spec).toMatchObject({ volumeName: 'old', volumeId: 'old', deletedAt: recycled.deletedAt });
    expect(Date.parse(entry?.spec.expiresAt ?? '')).toBeGreaterThan(Date.now() + 23 * 3_600_000);
    await operations.undeleteVolume('old');
    await fixture.ready('old');
    expect(await store.find('Snapshot', 's')).toBeDefined();
  });

  it('brings groups back, and gives a snapshot whose name is taken its id', async () => {
    const { operations, store } = await open(
      [orphan('a'), orphan('b')],
      [
        snapshot('a', 'i1', { name: 'g-a', group: 'g' }),
        snapshot('b', 'i2', { name: 'g-b', group: 'g' }),
        snapshot('a', 'i3', { name: 'nightly' }),
        snapshot('b', 'i4', { name: 'nightly' }),
      ],
    );
    await operations.adoptPool('main', all);
    const names = (await store.list('Snapshot')).items.map(({ metadata }) => metadata.name);
    expect(names).toEqual(['g-a', 'g-b', 'nightly', 'nightly-i4']);
    const group = await store.get('SnapshotGroup', 'g');
    expect(group).toMatchObject({
      spec: { volumeNames: ['a', 'b'] },
      status: { phase: 'Ready', snapshotNames: ['g-a', 'g-b'] },
    });
    await operations.deleteSnapshotGroup('g');
    await fixture.until('SnapshotGroup', 'g', (one) => one === undefined);
    expect(fixture.released.map(({ name, purged }) => [name, purged]).sort()).toEqual([
      ['g-a', true],
      ['g-b', true],
    ]);
  });

  it.each([
    [{}, 'InvalidArgument'],
    [{ all: true, volumes: ['db'] }, 'InvalidArgument'],
    [{ all: true, as: 'x' }, 'InvalidArgument'],
    [{ volumes: ['db'], as: 'X' }, 'InvalidArgument'],
    [{ volumes: ['nowhere'] }, 'NotFound'],
  ] as const)('refuses %j', async (request, code) => {
    const { operations } = await open([orphan('db')]);
    await expect(operations.adoptPool('main', request)).rejects.toMatchObject({ code });
  });
});
