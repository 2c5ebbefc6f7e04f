import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Attachment } from '../../model/kinds.ts';
import { annotations, finalizers } from '../../model/names.ts';
import { attachment, pool, replica } from './fixture.ts';
import { type MirrorAction, planMirror, sameJson } from './plan.ts';

const noReplica = { hasReplica: () => false, volumesOn: () => [], isUsed: () => false };
const used = { hasReplica: () => true, volumesOn: () => ['v'], isUsed: () => true };
const deletionTimestamp = '2026-01-02T00:00:00.000Z';

describe('planMirror', () => {
  it('copies a new object down, with the status that the node had given it before', () => {
    const remote = replica('a', 3);
    const known = { ...remote, status: { ...remote.status, sizeBytes: 4096, observedGeneration: 3 } };
    const action = planMirror('Replica', undefined, known, noReplica);
    expect(action).toMatchObject({
      do: 'put',
      object: {
        metadata: { uid: 'a', finalizers: [finalizers.agent, finalizers.mirror] },
        status: { sizeBytes: 4096, observedGeneration: 0 },
      },
    });
  });

  it('holds an object that was made without a finalizer before it copies it', () => {
    const remote = replica('a', 1);
    const bare = { ...remote, metadata: { ...remote.metadata, finalizers: [] } };
    expect(planMirror('Replica', undefined, bare, noReplica)).toEqual({ do: 'hold' });
  });

  it('holds an object again whose finalizer somebody took off', () => {
    const remote = replica('a', 1);
    const bare = { ...remote, metadata: { ...remote.metadata, finalizers: [] } };
    expect(planMirror('Replica', copied(remote), bare, used)).toEqual({ do: 'hold' });
    expect(planMirror('Replica', copied(remote), remote, used)).toEqual({ do: 'none' });
  });

  it('leaves the annotations of other programs in the cluster', () => {
    const remote = replica('a', 1);
    const annotated = {
      ...remote,
      metadata: {
        ...remote.metadata,
        annotations: {
          'kubectl.kubernetes.io/last-applied': 'x',
          'azekura.dev/destroy': 'true',
          [annotations.unknownToCluster]: 'true',
        },
      },
    };
    const action = planMirror('Replica', undefined, annotated, noReplica);
    expect(action.do === 'put' && action.object.metadata.annotations).toEqual({
      'azekura.dev/destroy': 'true',
      [annotations.mirrored]: '1/1',
    });
  });

  it('keeps a copy that vanished from the cluster, and drops an attachment of which nothing is mounted', () => {
    const kept = copied(replica('a', 1));
    expect(planMirror('Replica', kept, undefined, noReplica)).toEqual({ do: 'mark' });
    expect(planMirror('Replica', marked(kept), undefined, noReplica)).toEqual({ do: 'keep' });
    const idle = copied(attachment('a', 1));
    expect(planMirror('Attachment', idle, undefined, noReplica)).toEqual({ do: 'drop' });
    const inUse = { ...idle, spec: { ...idle.spec, staged: true } };
    expect(planMirror('Attachment', inUse, undefined, noReplica)).toEqual({ do: 'mark' });
  });

  it("leaves the node's own objects alone, and shows what it had before it joined the cluster", () => {
    const own = replica('a', 1);
    expect(planMirror('Replica', own, undefined, noReplica)).toEqual({ do: 'mark' });
    const inline = { ...own, metadata: { ...own.metadata, annotations: { [annotations.nodeOnly]: 'true' } } };
    expect(planMirror('Replica', inline, undefined, noReplica)).toEqual({ do: 'none' });
    expect(planMirror('Attachment', attachment('a', 1), undefined, noReplica)).toEqual({ do: 'none' });
  });

  it('takes an object over that was made anew for the same data, and refuses one for other data', () => {
    const local = { ...marked(replica('mine', 7)), status: { ...replica('mine', 7).status, sizeBytes: 4096 } };
    const action = planMirror('Replica', local, replica('theirs', 1), noReplica);
    expect(action).toMatchObject({
      do: 'put',
      object: {
        metadata: { uid: 'theirs', generation: 8, annotations: { [annotations.mirrored]: '1/8' } },
        status: { sizeBytes: 4096 },
      },
    });
    const other = replica('theirs', 1, { poolName: 'other' });
    expect(planMirror('Replica', local, other, noReplica)).toEqual({ do: 'conflict' });
  });

  it('does not take mounts of the kubelet for those of a person, whatever the object in the cluster says', () => {
    const published = [{ path: '/pod', readOnly: false }];
    const local = copied(attachment('a', 1, { staged: true, stagingPath: '/staging', published }));
    const mount = { origin: 'mount' as const, staged: true, published: [{ path: '/mnt', readOnly: false }] };
    for (const uid of ['a', 'made anew']) {
      const action = planMirror('Attachment', local, attachment(uid, 2, mount), used);
      expect(action.do === 'put' && action.object.spec).toMatchObject({ origin: 'publish', staged: true, published });
    }
    const unused = copied(attachment('a', 1));
    const action = planMirror('Attachment', unused, attachment('a', 2, mount), used);
    expect(action.do === 'put' && action.object.spec).toMatchObject(mount);
  });

  it('withholds the deletion of what the kubelet uses, and says so', () => {
    const idle = copied(attachment('a', 1));
    const leaving = { ...attachment('a', 1), metadata: { ...attachment('a', 1).metadata, deletionTimestamp } };
    const staged = { ...idle, spec: { ...idle.spec, staged: true } };
    expect(planMirror('Attachment', staged, leaving, used)).toMatchObject({
      do: 'report',
      status: { causes: [{ code: 'DeletedInUse', since: deletionTimestamp }] },
    });
    expect(planMirror('Attachment', idle, leaving, used)).toMatchObject({
      do: 'put',
      object: { metadata: { deletionTimestamp } },
    });
    // Whoever mounted it in the cluster unmounts it there.
    const mounted = { ...staged, spec: { ...staged.spec, origin: 'mount' as const } };
    const byHand = { ...leaving, spec: { ...leaving.spec, origin: 'mount' as const } };
    expect(planMirror('Attachment', mounted, byHand, used)).toMatchObject({
      object: { metadata: { deletionTimestamp } },
    });
  });

  it('withholds the deletion of a pool with volumes, so that one that is made again under its name is joined', () => {
    const local = copied(pool('a', 1));
    const leaving = { ...pool('a', 1), metadata: { ...pool('a', 1).metadata, deletionTimestamp } };
    expect(planMirror('Pool', local, leaving, used)).toMatchObject({
      do: 'report',
      status: { phase: 'Removing', causes: [{ code: 'InUse', evidence: { what: 'pool main', holder: 'v' } }] },
    });
    expect(planMirror('Pool', local, undefined, used)).toEqual({ do: 'mark' });
    expect(planMirror('Pool', local, pool('b', 1), used)).toMatchObject({
      do: 'put',
      object: { metadata: { uid: 'b' } },
    });
    expect(planMirror('Pool', local, leaving, noReplica)).toMatchObject({
      do: 'put',
      object: { metadata: { deletionTimestamp } },
    });
  });

  it('withholds the deletion of a copy that is used, but for one that may be destroyed', () => {
    const copy = copied(replica('a', 1));
    const leaving = (purge: boolean) => {
      const remote = replica('a', 1, purge ? { purge } : {});
      return { ...remote, metadata: { ...remote.metadata, deletionTimestamp } };
    };
    expect(planMirror('Replica', copy, leaving(false), used)).toMatchObject({
      do: 'report',
      status: { causes: [{ code: 'DeletedInUse' }] },
    });
    expect(planMirror('Replica', copy, leaving(false), noReplica)).toMatchObject({ do: 'put' });
    const going = planMirror('Replica', copy, leaving(true), used);
    expect(going).toMatchObject({ do: 'put', object: { metadata: { deletionTimestamp } } });
  });

  it('translates the generation that was observed', () => {
    const local = copied(attachment('a', 4));
    const seen = { ...local, status: { ...local.status, observedGeneration: local.metadata.generation } };
    const action = planMirror('Attachment', seen, attachment('a', 4), noReplica);
    expect(action).toMatchObject({ do: 'report', status: { observedGeneration: 4 } });
    const early = { ...local, status: { ...local.status, phase: 'Attached' as const } };
    const before = planMirror('Attachment', early, attachment('a', 4), noReplica);
    expect(before).toMatchObject({ do: 'report', status: { observedGeneration: 0, phase: 'Attached' } });
  });

  it('converges from any interleaving of changes, kills and losses, with one writer for each field', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const world = new World();
        for (const one of steps) world.take(one);
        world.settle();
      }),
      { numRuns: 3_000 },
    );
  });
});

function copied<T extends Attachment | ReturnType<typeof replica> | ReturnType<typeof pool>>(remote: T): T {
  const action = planMirror(remote.kind, undefined, remote as never, noReplica);
  if (action.do !== 'put') throw new Error(action.do);
  return action.object as unknown as T;
}

type Step =
  | {
      readonly who: 'cluster';
      readonly does: 'create' | 'edit' | 'delete' | 'lose' | 'strip';
      readonly readOnly: boolean;
    }
  | { readonly who: 'node'; readonly does: 'observe' | 'publish' | 'unpublish' | 'let go' }
  | { readonly who: 'mirror' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      who: fc.constant('cluster' as const),
      does: fc.constantFrom('create' as const, 'edit' as const, 'delete' as const, 'lose' as const, 'strip' as const),
      readOnly: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      who: fc.constant('node' as const),
      does: fc.constantFrom('observe' as const, 'publish' as const, 'unpublish' as const, 'let go' as const),
    }),
  },
  { weight: 8, arbitrary: fc.record({ who: fc.constant('mirror' as const) }) },
);

/** One attachment on both sides. A mirror that is killed between two actions is one that takes no further step. */
class World {
  remote: Attachment | undefined;
  local: Attachment | undefined;
  #made = 0;
  #edits = 0;
  readonly #askedToGo = new Set<string>();
  readonly #letGo = new Set<string>();

  take(one: Step): void {
    if (one.who === 'cluster') this.#cluster(one.does, one.readOnly);
    else if (one.who === 'node') this.#node(one.does);
    else this.#mirror();
  }

  /** Changes end; the agent and the mirror go on until both have nothing to do. */
  settle(): void {
    for (let round = 0; round < 60; round++) {
      const before = JSON.stringify([this.local, this.remote]);
      // Only its user ends the use of what is to go.
      if (this.remote?.metadata.deletionTimestamp !== undefined) this.#node('unpublish');
      this.#node('let go');
      this.#node('observe');
      const action = this.#mirror();
      if (action.do === 'none' || action.do === 'keep') {
        if (before !== JSON.stringify([this.local, this.remote])) continue;
        this.#expectSame(action);
        return;
      }
    }
    throw new Error('the two sides never come to rest');
  }

  #expectSame(action: MirrorAction): void {
    const { local, remote } = this;
    if (!remote) {
      if (local) expect(action.do).toBe('keep');
      return;
    }
    expect(remote.metadata.deletionTimestamp, 'what was asked to go is gone').toBeUndefined();
    expect(local?.metadata.uid).toBe(remote.metadata.uid);
    expect(local?.spec.readOnly).toBe(remote.spec.readOnly);
    expect(remote.status.observedGeneration).toBe(remote.metadata.generation);
    expect(remote.status.published).toEqual(local?.spec.published.map(({ path }) => path));
  }

  #cluster(does: 'create' | 'edit' | 'delete' | 'lose' | 'strip', readOnly: boolean): void {
    const { remote } = this;
    if (does === 'create') {
      if (!remote) this.remote = attachment(`uid${++this.#made}`, 1, { readOnly });
    } else if (!remote) {
      return;
    } else if (does === 'edit') {
      const spec = { ...remote.spec, readOnly, observeRequestId: String(++this.#edits) };
      this.remote = { ...remote, spec, metadata: { ...remote.metadata, generation: remote.metadata.generation + 1 } };
    } else if (does === 'delete') {
      this.#askedToGo.add(remote.metadata.uid);
      this.remote = gone({
        ...remote,
        metadata: { ...remote.metadata, deletionTimestamp: '2026-01-02T00:00:00.000Z' },
      });
    } else if (does === 'lose') {
      this.remote = undefined;
    } else {
      this.remote = gone({ ...remote, metadata: { ...remote.metadata, finalizers: [] } });
    }
  }

  #node(does: 'observe' | 'publish' | 'unpublish' | 'let go'): void {
    const { local } = this;
    if (!local) return;
    const { metadata, spec, status } = local;
    if (does === 'observe') {
      const published = spec.published.map(({ path }) => path);
      this.local = {
        ...local,
        status: { ...status, observedGeneration: metadata.generation, phase: 'Attached', published },
      };
    } else if (does === 'let go') {
      if (metadata.deletionTimestamp === undefined) return;
      this.#letGo.add(metadata.uid);
      const left = metadata.finalizers.filter((one) => one !== finalizers.agent);
      this.local = gone({ ...local, metadata: { ...metadata, finalizers: left } });
    } else {
      const published = does === 'publish' ? [{ path: '/pod', readOnly: false }] : [];
      if (sameJson(published, spec.published)) return;
      const changed = { ...spec, staged: published.length > 0, published };
      this.local = { ...local, spec: changed, metadata: { ...metadata, generation: metadata.generation + 1 } };
    }
  }

  #mirror(): MirrorAction<'Attachment'> {
    const action = planMirror('Attachment', this.local, this.remote, noReplica);
    const { local, remote } = this;
    switch (action.do) {
      case 'put': {
        const { object } = action;
        if (local) expect(object.spec.published, "the kubelet's wishes are the node's").toEqual(local.spec.published);
        if (local?.metadata.uid === object.metadata.uid) expect(object.status).toBe(local.status);
        if (object.metadata.deletionTimestamp !== undefined && local?.metadata.deletionTimestamp === undefined)
          expect(this.#askedToGo).toContain(object.metadata.uid);
        if (object.metadata.deletionTimestamp !== undefined && local?.metadata.deletionTimestamp === undefined)
          expect(local?.spec.published ?? [], 'what is in use is not told to go').toEqual([]);
        this.local = object;
        break;
      }
      case 'drop':
        expect(local?.spec.published, 'nothing that is in use is let go').toEqual([]);
        if (local)
          this.local = { ...local, metadata: { ...local.metadata, deletionTimestamp: '2026-01-03T00:00:00.000Z' } };
        break;
      case 'forget':
        if (local) this.local = gone(without(local, finalizers.mirror));
        break;
      case 'mark':
        if (local) this.local = marked(local);
        break;
      case 'hold':
        if (remote) this.remote = { ...remote, metadata: { ...remote.metadata, finalizers: [finalizers.agent] } };
        break;
      case 'release':
        expect(this.#letGo, 'only the agent lets go').toContain(remote?.metadata.uid);
        if (remote) this.remote = gone(without(remote, finalizers.agent));
        break;
      case 'report':
        if (remote) this.remote = { ...remote, status: action.status };
        break;
      default:
    }
    return action;
  }
}

function marked<T extends Attachment | ReturnType<typeof replica>>(object: T): T {
  const noted = { ...object.metadata.annotations, [annotations.unknownToCluster]: 'true' };
  return { ...object, metadata: { ...object.metadata, annotations: noted } };
}

function without(object: Attachment, finalizer: string): Attachment {
  const left = object.metadata.finalizers.filter((one) => one !== finalizer);
  return { ...object, metadata: { ...object.metadata, finalizers: left } };
}

/** As a store does: what is to go vanishes with its last finalizer. */
function gone(object: Attachment): Attachment | undefined {
  return object.metadata.deletionTimestamp !== undefined && object.metadata.finalizers.length === 0
    ? undefined
    : object;
}
