import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Node, Pool } from '../model/kinds.ts';
import { apiVersion } from '../model/meta.ts';
import { NodeSpec, NodeStatus } from '../model/node.ts';
import { Policy } from '../model/policy.ts';
import { PoolSpec, PoolStatus } from '../model/pool.ts';
import { roomOf } from './capacity.ts';
import { Ledger } from './ledger.ts';
import { type PlaceRequest, place } from './place.ts';

const gibibyte = 2 ** 30;

const meta = (name: string, labels: Record<string, string> = {}) => ({
  name,
  uid: name,
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: '2026-01-01T00:00:00.000Z',
  finalizers: [],
  ownerReferences: [],
  labels,
  annotations: {},
});

function node(name: string, spec: Partial<NodeSpec> = {}, status: Partial<NodeStatus> = {}): Node {
  return {
    apiVersion,
    kind: 'Node',
    metadata: meta(name),
    spec: NodeSpec.parse(spec),
    status: NodeStatus.parse({ phase: 'Ready', ...status }),
  };
}

function pool(
  name: string,
  part: { spec?: Partial<PoolSpec>; status?: Partial<PoolStatus>; labels?: Record<string, string> } = {},
): Pool {
  const spec = { nodeName: 'n1', source: { kind: 'directory', path: `/p/${name}` }, reservePercent: 0, ...part.spec };
  const status = { phase: 'Ready', capacityBytes: 100 * gibibyte, freeBytes: 100 * gibibyte, ...part.status };
  return {
    apiVersion,
    kind: 'Pool',
    metadata: meta(name, part.labels),
    spec: PoolSpec.parse(spec),
    status: PoolStatus.parse(status),
  };
}

const nodes = new Map([['n1', node('n1')]]);
const request = (part: Partial<PlaceRequest> = {}, policy: Partial<Policy> = {}): PlaceRequest => ({
  sizeBytes: gibibyte,
  policy: Policy.parse(policy),
  ...part,
});
const reasonOf = (pools: Pool[], wanted: PlaceRequest, at = nodes, ledger = new Ledger()) =>
  place(wanted, at, pools, ledger).considered[0]?.reason;

describe('place', () => {
  it('chooses the pool with the most free bytes, by name among equals', () => {
    const pools = [pool('b'), pool('a'), pool('small', { status: { freeBytes: 50 * gibibyte } })];
    expect(place(request(), nodes, pools, new Ledger()).chosen).toEqual([{ nodeName: 'n1', poolName: 'a' }]);
    expect(place(request(), nodes, [...pools].reverse(), new Ledger()).chosen).toEqual([
      { nodeName: 'n1', poolName: 'a' },
    ]);
  });

  it.each<[string, Pool, Partial<PlaceRequest>, Partial<Policy>, RegExp]>([
    ['another engine', pool('p', { spec: { engine: 'lvm' } }), {}, {}, /engine is lvm, not file/],
    ['a drain', pool('p', { spec: { draining: true } }), {}, {}, /being drained/],
    ['a cordon', pool('p', { spec: { cordoned: true } }), {}, {}, /cordoned/],
    ['a pool that is not there', pool('p', { status: { phase: 'Missing' } }), {}, {}, /not ready \(Missing\)/],
    ['an unknown node', pool('p', { spec: { nodeName: 'n9' } }), {}, {}, /node n9 is not known/],
    ['names in the class', pool('p'), {}, { poolSelector: { names: ['q'] } }, /class does not name it/],
    ['labels in the class', pool('p'), {}, { poolSelector: { labels: { disk: 'ssd' } } }, /disk=ssd/],
    ['a pin', pool('p'), { poolName: 'q' }, {}, /bound to another pool/],
    ['an exclusion', pool('p'), { excludedPools: ['p'] }, {}, /excluded/],
    ['other nodes', pool('p'), { nodeNames: ['n2'] }, {}, /not one of those asked for/],
    [
      'the reserve',
      pool('p', { spec: { reservePercent: 10 }, status: { freeBytes: 10 * gibibyte } }),
      {},
      {},
      /up to its reserve/,
    ],
    ['the overcommit limit', pool('p'), { sizeBytes: 201 * gibibyte }, {}, /200Gi left up to its overcommit limit/],
    ['space for a thick volume', pool('p'), { sizeBytes: 101 * gibibyte }, { provisioning: 'thick' }, /100Gi left/],
  ])('says that %s is against a pool', (_, candidate, part, policy, reason) => {
    const answer = place(request(part, policy), nodes, [candidate], new Ledger());
    expect(answer.chosen).toEqual([]);
    expect(answer.considered[0]?.reason).toMatch(reason);
  });

  it('says that a node is cordoned or not ready', () => {
    expect(reasonOf([pool('p')], request(), new Map([['n1', node('n1', { cordoned: true })]]))).toMatch(
      /node n1 is cordoned/,
    );
    expect(reasonOf([pool('p')], request(), new Map([['n1', node('n1', {}, { phase: 'NotReady' })]]))).toMatch(
      /node n1 is not ready/,
    );
  });

  it('tells a lack of space from everything else', () => {
    const full = pool('p', { status: { freeBytes: 0 } });
    expect(place(request(), nodes, [full], new Ledger()).onlySpaceLacks).toBe(true);
    expect(place(request(), nodes, [pool('p', { spec: { cordoned: true } })], new Ledger()).onlySpaceLacks).toBe(false);
  });

  it('puts copies on different nodes, and none when there are not enough', () => {
    const two = new Map([...nodes, ['n2', node('n2')]]);
    const pools = [pool('a'), pool('b'), pool('c', { spec: { nodeName: 'n2' } })];
    const wanted = request({}, { replicas: 2 });
    expect(
      place(wanted, two, pools, new Ledger())
        .chosen.map(({ nodeName }) => nodeName)
        .sort(),
    ).toEqual(['n1', 'n2']);
    expect(place(wanted, nodes, pools, new Ledger()).chosen).toEqual([]);
  });

  it('prefers the nodes that are named first', () => {
    const two = new Map([...nodes, ['n2', node('n2')]]);
    const pools = [pool('a'), pool('b', { spec: { nodeName: 'n2' }, status: { freeBytes: 10 * gibibyte } })];
    const chosen = place(request({ nodeNames: ['n2', 'n1'] }), two, pools, new Ledger()).chosen;
    expect(chosen).toEqual([{ nodeName: 'n2', poolName: 'b' }]);
  });

  const size = fc.integer({ min: 1, max: 60 }).map((units) => units * gibibyte);
  const wish = fc.record({ sizeBytes: size, thick: fc.boolean() });
  const field = fc.record({
    freeBytes: fc.integer({ min: 0, max: 100 }).map((units) => units * gibibyte),
    reservePercent: fc.integer({ min: 0, max: 50 }),
    overcommitRatio: fc.constantFrom(1, 1.5, 2, 5),
  });

  it('never overbooks, whatever is asked for in whatever order, and explains every pool', () => {
    fc.assert(
      fc.property(
        fc.array(field, { minLength: 1, maxLength: 4 }),
        fc.array(wish, { maxLength: 40 }),
        (fields, wishes) => {
          const pools = fields.map(({ freeBytes, reservePercent, overcommitRatio }, index) =>
            pool(`p${index}`, { spec: { reservePercent, overcommitRatio }, status: { freeBytes } }),
          );
          const ledger = new Ledger();
          wishes.forEach(({ sizeBytes, thick }, index) => {
            const answer = place(
              request({ sizeBytes }, { provisioning: thick ? 'thick' : 'thin' }),
              nodes,
              pools,
              ledger,
            );
            expect(answer.considered).toHaveLength(pools.length);
            for (const one of answer.considered) expect(one.reason).not.toBe('');
            expect(answer.chosen.length > 0).toBe(answer.considered.some((one) => one.fits));
            const [chosen] = answer.chosen;
            if (!chosen) return;
            ledger.set({
              replicaName: `r${index}`,
              poolName: chosen.poolName,
              promisedBytes: sizeBytes,
              allocatedBytes: thick ? sizeBytes : 0,
            });
          });
          for (const one of pools) {
            const sums = ledger.sums(one.metadata.name);
            const reserveBytes = Math.ceil((one.status.capacityBytes * one.spec.reservePercent) / 100);
            if (sums.volumes === 0) continue;
            expect(sums.reservedBytes).toBeLessThanOrEqual(one.status.freeBytes - reserveBytes);
            expect(sums.promisedBytes).toBeLessThanOrEqual(
              one.status.capacityBytes * one.spec.overcommitRatio - reserveBytes,
            );
          }
        },
      ),
    );
  });

  it('gives the same answer in whatever order the pools come', () => {
    fc.assert(
      fc.property(fc.array(field, { minLength: 1, maxLength: 6 }), size, (fields, sizeBytes) => {
        const pools = fields.map(({ freeBytes }, index) => pool(`p${index}`, { status: { freeBytes } }));
        const forwards = place(request({ sizeBytes }), nodes, pools, new Ledger()).chosen;
        expect(place(request({ sizeBytes }), nodes, [...pools].reverse(), new Ledger()).chosen).toEqual(forwards);
      }),
    );
  });

  it('counts no room twice: what is left after a choice is what was left before, minus it', () => {
    fc.assert(
      fc.property(field, size, fc.boolean(), ({ freeBytes, reservePercent }, sizeBytes, thick) => {
        const one = pool('p', { spec: { reservePercent }, status: { freeBytes } });
        const ledger = new Ledger();
        const before = roomOf(one, ledger.sums('p'));
        const policy = { provisioning: thick ? ('thick' as const) : ('thin' as const) };
        if (place(request({ sizeBytes }, policy), nodes, [one], ledger).chosen.length === 0) return;
        ledger.set({
          replicaName: 'r',
          poolName: 'p',
          promisedBytes: sizeBytes,
          allocatedBytes: thick ? sizeBytes : 0,
        });
        const after = roomOf(one, ledger.sums('p'));
        if (thick) expect(after.thickBytes).toBe(before.thickBytes - sizeBytes);
        else expect(after.thinBytes).toBe(before.thinBytes - sizeBytes);
      }),
    );
  });
});
