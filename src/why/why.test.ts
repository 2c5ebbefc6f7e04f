import { describe, expect, it } from 'vitest';
import { makeCause } from '../model/cause.ts';
import { type CauseCode, causeCatalogue } from '../model/causes.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import { problems } from './problems.ts';
import type { Relations, Subject } from './relations.ts';
import { findRoot } from './root.ts';

/** One volume with everything that hangs on it: the objects reduced to what why/ looks at. */
class Scene implements Relations {
  readonly #objects = new Map<string, object>();

  constructor() {
    this.#add('Node', 'here', {});
    this.#add('Pool', 'main', { nodeName: 'here' });
    this.#add('Replica', 'i-0', { volumeId: 'i', poolName: 'main', nodeName: 'here' });
    this.#add('Attachment', 'i-here', { volumeId: 'i', nodeName: 'here' });
    this.#add('Snapshot', 's', { volumeId: 'i', volumeName: 'db', groupName: 'g' });
    this.#add('SnapshotGroup', 'g', { volumeNames: ['db'] });
    this.#add('Volume', 'db', {}, { volumeId: 'i' });
    this.#add('Volume', 'healthy', {}, { volumeId: 'h' });
  }

  #add(kind: Kind, name: string, spec: object, status: object = {}): void {
    this.#objects.set(`${kind}/${name}`, { kind, metadata: { name }, spec, status: { causes: [], ...status } });
  }

  /** Gives an object one more cause. */
  put(kind: Kind, name: string, code: CauseCode, since = '2026-01-01T00:00:00Z'): this {
    const object = this.#objects.get(`${kind}/${name}`) as { status: { causes: object[] } };
    object.status.causes.push(makeCause(code, { pool: 'main', volume: 'db' }, since));
    return this;
  }

  /** Adds a volume that waits for its source. */
  wait(name: string, source: object): this {
    this.#add('Volume', name, { source }, { volumeId: name });
    return this;
  }

  get<K extends Kind>(kind: K, name: string): Resource<K> | undefined {
    return this.#objects.get(`${kind}/${name}`) as Resource<K> | undefined;
  }

  list<K extends Kind>(kind: K): readonly Resource<K>[] {
    return ([...this.#objects.values()] as Resource<K>[]).filter((object) => object.kind === kind);
  }

  replicasOf = (volumeId: string) => this.list('Replica').filter((one) => one.spec.volumeId === volumeId);
  attachmentsOf = (volumeId: string) => this.list('Attachment').filter((one) => one.spec.volumeId === volumeId);
}

const volume: Subject = { kind: 'Volume', name: 'db' };
type Place = 'node' | 'pool' | 'replica' | 'attachment' | 'volume' | 'snapshot' | 'group';
const places: Readonly<Record<Place, readonly [Kind, string]>> = {
  node: ['Node', 'here'],
  pool: ['Pool', 'main'],
  replica: ['Replica', 'i-0'],
  attachment: ['Attachment', 'i-here'],
  volume: ['Volume', 'db'],
  snapshot: ['Snapshot', 's'],
  group: ['SnapshotGroup', 'g'],
};

/** Answers about objects of Kubernetes, found by control/kubernetes; no object of ours has them. */
const elsewhere = ['ClaimWaits', 'ClaimNotProvisioned', 'PodNotScheduled', 'VolumeObjectMissing'] as const;
type Code = Exclude<CauseCode, (typeof elsewhere)[number]>;

/** Where each cause arises, and which symptoms it has above. */
const scenes: Readonly<
  Record<Code, { readonly at: Place; readonly symptoms?: readonly (readonly [Place, CauseCode])[] }>
> = {
  PoolFull: {
    at: 'pool',
    symptoms: [
      ['replica', 'StepFailed'],
      ['volume', 'StepFailed'],
    ],
  },
  PoolNearFull: { at: 'pool' },
  PoolHasOrphans: { at: 'pool' },
  PoolOvercommitted: { at: 'pool' },
  PoolMissing: {
    at: 'pool',
    symptoms: [
      ['replica', 'BackingMissing'],
      ['attachment', 'MountFailed'],
      ['volume', 'BackingMissing'],
    ],
  },
  PoolReadOnly: {
    at: 'pool',
    symptoms: [
      ['replica', 'StepFailed'],
      ['attachment', 'MountFailed'],
    ],
  },
  PoolForeign: { at: 'pool', symptoms: [['replica', 'BackingMissing']] },
  PoolIdentityDamaged: { at: 'pool', symptoms: [['replica', 'StepFailed']] },
  PoolNoJournal: { at: 'pool' },
  PoolOnBtrfs: { at: 'pool' },
  PoolHostFull: {
    at: 'pool',
    symptoms: [
      ['replica', 'StepFailed'],
      ['attachment', 'FilesystemNeedsCheck'],
    ],
  },
  PoolIoErrors: {
    at: 'pool',
    symptoms: [
      ['pool', 'PoolReadOnly'],
      ['attachment', 'StepFailed'],
    ],
  },
  GroupLocked: { at: 'pool', symptoms: [['replica', 'StepFailed']] },
  PoolDiskMissing: {
    at: 'pool',
    symptoms: [
      ['replica', 'BackingMissing'],
      ['attachment', 'StepFailed'],
    ],
  },
  PoolDegraded: { at: 'pool' },
  PoolMetadataNearFull: { at: 'pool' },
  PoolNeedsRepair: {
    at: 'pool',
    symptoms: [
      ['replica', 'StepFailed'],
      ['attachment', 'MountFailed'],
    ],
  },
  DiskStays: { at: 'pool' },
  DiskRefused: { at: 'pool' },
  DiskFailing: { at: 'pool', symptoms: [['pool', 'PoolDiskMissing']] },
  PoolDraining: { at: 'pool', symptoms: [['volume', 'PoolNotFound']] },
  PoolNotFound: { at: 'volume' },
  ClassNotFound: { at: 'volume' },
  SourceNotFound: { at: 'volume' },
  SourceNotReady: { at: 'volume' },
  NoLoopDevices: { at: 'attachment', symptoms: [['volume', 'StepFailed']] },
  NotDirectIo: { at: 'replica' },
  HungCall: {
    at: 'replica',
    symptoms: [
      ['attachment', 'StepFailed'],
      ['volume', 'HungCall'],
    ],
  },
  Frozen: { at: 'snapshot' },
  FreezeTimedOut: { at: 'snapshot' },
  EncryptionKeyMissing: { at: 'attachment' },
  EncryptionKeyWrong: { at: 'attachment' },
  EncryptionHeaderDamaged: { at: 'attachment' },
  EncryptionUnsupported: { at: 'attachment' },
  InUse: { at: 'attachment', symptoms: [['volume', 'InUse']] },
  MountPointBusy: { at: 'attachment', symptoms: [['volume', 'MountPointBusy']] },
  IdentityDamaged: { at: 'replica', symptoms: [['volume', 'IdentityDamaged']] },
  BackingMissing: {
    at: 'replica',
    symptoms: [
      ['attachment', 'StepFailed'],
      ['volume', 'BackingMissing'],
    ],
  },
  FilesystemNeedsCheck: { at: 'attachment', symptoms: [['volume', 'FilesystemNeedsCheck']] },
  FilesystemGrowthBlocked: { at: 'attachment' },
  MountFailed: { at: 'attachment', symptoms: [['volume', 'MountFailed']] },
  ToolMissing: { at: 'node', symptoms: [['replica', 'StepFailed']] },
  PermissionMissing: {
    at: 'node',
    symptoms: [
      ['pool', 'PoolMissing'],
      ['replica', 'StepFailed'],
      ['attachment', 'MountFailed'],
    ],
  },
  SnapshotSourceGone: { at: 'snapshot' },
  VolumeRecycled: { at: 'snapshot' },
  NodeCordoned: { at: 'node', symptoms: [['volume', 'PoolNotFound']] },
  UnknownToCluster: { at: 'node' },
  DeletedInUse: { at: 'attachment' },
  NameTakenInCluster: { at: 'node' },
  ClusterUnreachable: { at: 'node' },
  StepFailed: { at: 'replica', symptoms: [['volume', 'StepFailed']] },
};

/** Concern the object that has them and nothing above it. */
const ownAffair: ReadonlySet<CauseCode> = new Set<CauseCode>(['PoolHasOrphans']);

describe('the root cause', () => {
  it.each(
    (Object.keys(causeCatalogue) as CauseCode[]).filter((code): code is Code => !elsewhere.some((one) => one === code)),
  )('%s is found where it arises, never at one of its symptoms', (code) => {
    const { at, symptoms = [] } = scenes[code];
    const scene = new Scene();
    for (const [place, symptom] of symptoms) scene.put(...places[place], symptom, '2025-12-31T00:00:00Z');
    scene.put(...places[at], code);
    const pool: Subject = { kind: 'Pool', name: 'main' };
    const asked =
      at === 'snapshot' ? { kind: 'SnapshotGroup' as const, name: 'g' } : ownAffair.has(code) ? pool : volume;
    const root = findRoot(scene, asked);
    expect(root?.cause.code).toBe(code);
    expect(root?.path[0]).toEqual(asked);
    expect(root?.path.at(-1)).toEqual({ kind: places[at][0], name: places[at][1] });
  });

  it('is nothing when all is well', () => {
    expect(findRoot(new Scene(), volume)).toBeUndefined();
    expect(findRoot(new Scene(), { kind: 'Volume', name: 'healthy' })).toBeUndefined();
  });

  it('of a volume is not that its pool holds something else', () => {
    expect(findRoot(new Scene().put(...places.pool, 'PoolHasOrphans'), volume)).toBeUndefined();
  });

  it('is what blocks, not what is merely worth knowing deeper down', () => {
    const scene = new Scene().put(...places.pool, 'PoolNoJournal').put(...places.attachment, 'MountPointBusy');
    expect(findRoot(scene, volume)?.cause.code).toBe('MountPointBusy');
  });

  it('does not blame a full pool for data that is gone', () => {
    const scene = new Scene().put(...places.pool, 'PoolFull').put(...places.replica, 'BackingMissing');
    expect(findRoot(scene, volume)?.cause.code).toBe('BackingMissing');
  });

  it('of a clone that waits is what its source suffers from', () => {
    const scene = new Scene().put(...places.replica, 'BackingMissing').put(...places.snapshot, 'BackingMissing');
    scene.wait('clone', { kind: 'snapshot', name: 's' }).put('Volume', 'clone', 'SourceNotReady');
    const root = findRoot(scene, { kind: 'Volume', name: 'clone' });
    expect(root?.path).toEqual([
      { kind: 'Volume', name: 'clone' },
      { kind: 'Snapshot', name: 's' },
      { kind: 'Replica', name: 'i-0' },
    ]);
  });

  it('ends also when causes explain each other', () => {
    const codes = Object.keys(causeCatalogue) as CauseCode[];
    const scene = new Scene();
    for (const place of Object.values(places)) for (const code of codes) scene.put(...place, code);
    expect(findRoot(scene, volume)).toBeDefined();
  });
});

describe('problems', () => {
  it('lists a root once, with everything that suffers from it', () => {
    const scene = new Scene().put(...places.pool, 'PoolMissing').put(...places.replica, 'PoolMissing');
    scene.put(...places.volume, 'PoolMissing').put(...places.snapshot, 'StepFailed');
    const found = problems(scene);
    expect(found.map((one) => one.cause.code)).toEqual(['PoolMissing']);
    expect([...(found[0]?.affects ?? [])].sort()).toEqual(['pool/main', 'snapshot/s', 'volume/db']);
  });

  it('keeps apart what a pool suffers from at once', () => {
    const scene = new Scene().put(...places.pool, 'PoolNoJournal').put(...places.pool, 'PoolNearFull');
    expect(
      problems(scene)
        .map((one) => one.cause.code)
        .sort(),
    ).toEqual(['PoolNearFull', 'PoolNoJournal']);
  });

  it('are none when all is well', () => {
    expect(problems(new Scene())).toEqual([]);
  });
});
