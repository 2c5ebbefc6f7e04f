import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Node, Pool } from '../model/kinds.ts';
import { encryptionHeaderBytes, Policy } from '../model/policy.ts';
import { roomOf } from './capacity.ts';
import { capacityFor } from './class-capacity.ts';
import { fitNode } from './fit-node.ts';
import { gibibyte, holdsByTrial, makeStock, makeNode as node, placeByScan, makePool as pool } from './fixture.ts';
import { Ledger, promise } from './ledger.ts';
import type { ClaimRequest } from './obstacles.ts';
import { type PlaceRequest, place } from './place.ts';

type OneRequest = Partial<ClaimRequest> & Pick<PlaceRequest, 'nodeNames'>;

const nodes = new Map([['n1', node('n1')]]);
const request = ({ nodeNames, ...claim }: OneRequest = {}, policy: Partial<Policy> = {}): PlaceRequest => ({
  claims: [{ sizeBytes: gibibyte, policy: Policy.parse(policy), ...claim }],
  nodeNames,
});
/** As findPlace of control: the copies of the one claim. */
const placed = (wanted: PlaceRequest, at: ReadonlyMap<string, Node>, pools: readonly Pool[], ledger = new Ledger()) => {
  const answer = place(wanted, makeStock(at.values(), pools, ledger));
  return { chosen: answer.places?.[0] ?? [], considered: answer.considered, onlySpaceLacks: answer.onlySpaceLacks };
};
const reasonOf = (pools: Pool[], wanted: PlaceRequest, at = nodes) => placed(wanted, at, pools).considered[0]?.reason;

describe('place', () => {
  it('chooses the pool with the most free bytes, by name among equals', () => {
    const pools = [pool('b'), pool('a'), pool('small', { status: { freeBytes: 50 * gibibyte } })];
    expect(placed(request(), nodes, pools).chosen).toEqual([{ nodeName: 'n1', poolName: 'a' }]);
    expect(placed(request(), nodes, [...pools].reverse()).chosen).toEqual([{ nodeName: 'n1', poolName: 'a' }]);
  });

  it.each<[string, Pool, OneRequest, Partial<Policy>, RegExp]>([
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
    [
      'what the engine keeps for thin volumes',
      pool('p', { status: { thickFreeBytes: 5 * gibibyte } }),
      { sizeBytes: 6 * gibibyte },
      { provisioning: 'thick' },
      /5Gi left that may be allocated/,
    ],
    [
      'space for the header of an encrypted volume',
      pool('p'),
      { sizeBytes: 100 * gibibyte },
      { provisioning: 'thick', encryption: 'luks2' },
      /100Gi left/,
    ],
  ])('says that %s is against a pool', (_, candidate, part, policy, reason) => {
    const answer = placed(request(part, policy), nodes, [candidate]);
    expect(answer.chosen).toEqual([]);
    expect(answer.considered[0]?.reason).toMatch(reason);
  });

  it('tells the largest encrypted volume without its header', () => {
    const largest = (encryption: Policy['encryption']) =>
      capacityFor({ policy: Policy.parse({ encryption }) }, 'n1', makeStock(nodes.values(), [pool('p')], new Ledger()))
        .maximumBytes;
    expect(largest('none') - largest('luks2')).toBe(encryptionHeaderBytes);
    const fits = (sizeBytes: number) => placed(request({ sizeBytes }, { encryption: 'luks2' }), nodes, [pool('p')]);
    expect(fits(largest('luks2')).chosen).toHaveLength(1);
    expect(fits(largest('luks2') + 1).chosen).toHaveLength(0);
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
    expect(placed(request(), nodes, [full]).onlySpaceLacks).toBe(true);
    expect(placed(request(), nodes, [pool('p', { spec: { cordoned: true } })]).onlySpaceLacks).toBe(false);
  });

  it('puts copies on different nodes, and none when there are not enough', () => {
    const two = new Map([...nodes, ['n2', node('n2')]]);
    const pools = [pool('a'), pool('b'), pool('c', { spec: { nodeName: 'n2' } })];
    const wanted = request({}, { replicas: 2 });
    expect(
      placed(wanted, two, pools)
        .chosen.map(({ nodeName }) => nodeName)
        .sort(),
    ).toEqual(['n1', 'n2']);
    expect(placed(wanted, nodes, pools).chosen).toEqual([]);
  });

  it('prefers the nodes that are named first', () => {
    const two = new Map([...nodes, ['n2', node('n2')]]);
    const pools = [pool('a'), pool('b', { spec: { nodeName: 'n2' }, status: { freeBytes: 10 * gibibyte } })];
    const chosen = placed(request({ nodeNames: ['n2', 'n1'] }), two, pools).chosen;
    expect(chosen).toEqual([{ nodeName: 'n2', poolName: 'b' }]);
  });

  const size = fc.integer({ min: 1, max: 60 }).map((units) => units * gibibyte);
  const wish = fc.record({ sizeBytes: size, thick: fc.boolean() });
  const field = fc.record({
    freeBytes: fc.integer({ min: 0, max: 100 }).map((units) => units * gibibyte),
    thickPart: fc.option(fc.constantFrom(0, 0.1, 0.5, 1), { nil: undefined }),
    reservePercent: fc.integer({ min: 0, max: 50 }),
    overcommitRatio: fc.constantFrom(1, 1.5, 2, 5),
  });

  it('never overbooks, whatever is asked for in whatever order, and explains every pool', () => {
    fc.assert(
      fc.property(
        fc.array(field, { minLength: 1, maxLength: 4 }),
        fc.array(wish, { maxLength: 40 }),
        (fields, wishes) => {
          const pools = fields.map(({ freeBytes, thickPart, reservePercent, overcommitRatio }, index) => {
            const ofThick = thickPart === undefined ? {} : { thickFreeBytes: Math.floor(freeBytes * thickPart) };
            return pool(`p${index}`, { spec: { reservePercent, overcommitRatio }, status: { freeBytes, ...ofThick } });
          });
          const ledger = new Ledger();
          wishes.forEach(({ sizeBytes, thick }, index) => {
            const answer = placed(
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
            ledger.set(
              promise(`r${index}`, chosen.poolName, { sizeBytes, policy: { provisioning: thick ? 'thick' : 'thin' } }),
            );
          });
          for (const one of pools) {
            const sums = ledger.sums(one.metadata.name);
            const reserveBytes = Math.ceil((one.status.capacityBytes * one.spec.reservePercent) / 100);
            if (sums.volumes === 0) continue;
            expect(sums.reservedBytes).toBeLessThanOrEqual(
              sums.reservedBytes === 0 ? 0 : (one.status.thickFreeBytes ?? one.status.freeBytes),
            );
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
        const forwards = placed(request({ sizeBytes }), nodes, pools).chosen;
        expect(placed(request({ sizeBytes }), nodes, [...pools].reverse()).chosen).toEqual(forwards);
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
        if (placed(request({ sizeBytes }, policy), nodes, [one], ledger).chosen.length === 0) return;
        ledger.set(promise('r', 'p', { sizeBytes, policy: { provisioning: thick ? 'thick' : 'thin' } }));
        const after = roomOf(one, ledger.sums('p'));
        if (thick) expect(after.thickBytes).toBe(before.thickBytes - sizeBytes);
        else expect(after.thinBytes).toBe(before.thinBytes - sizeBytes);
      }),
    );
  });
});

const sizes = fc.integer({ min: 1, max: 40 }).map((units) => units * gibibyte);
const provisioning = fc.constantFrom('thin' as const, 'thick' as const);
const wishes = fc.record({
  sizeBytes: sizes,
  provisioning,
  deviceClass: fc.option(fc.constantFrom('ssd', 'hdd'), { nil: undefined }),
});
const claimOf = ({
  sizeBytes,
  ...policy
}: {
  sizeBytes: number;
  provisioning: 'thin' | 'thick';
  deviceClass?: string | undefined;
}) => ({
  sizeBytes,
  policy: Policy.parse({
    provisioning: policy.provisioning,
    ...(policy.deviceClass ? { deviceClass: policy.deviceClass } : {}),
  }),
});
const worlds = fc
  .record({
    nodes: fc.array(fc.record({ ready: fc.boolean(), cordoned: fc.boolean() }), { minLength: 1, maxLength: 4 }),
    pools: fc.array(
      fc.record({
        node: fc.nat(3),
        free: fc.integer({ min: 0, max: 100 }),
        reservePercent: fc.constantFrom(0, 5, 50),
        overcommitRatio: fc.constantFrom(1, 1.5, 3),
        deviceClass: fc.constantFrom('ssd', 'hdd'),
        cordoned: fc.constantFrom(false, false, false, true),
      }),
      { maxLength: 8 },
    ),
    promises: fc.array(fc.record({ pool: fc.nat(7), sizeBytes: sizes, provisioning }), { maxLength: 6 }),
  })
  .map(({ nodes: made, pools, promises }) => {
    const all = made.map(({ ready, cordoned }, i) =>
      node(`n${i}`, { cordoned: cordoned && i % 2 === 1 }, { phase: ready || i === 0 ? 'Ready' : 'NotReady' }),
    );
    const ledger = new Ledger();
    for (const [i, one] of promises.entries()) ledger.set(promise(`before${i}`, `p${one.pool}`, claimOf(one)));
    return {
      nodes: new Map(all.map((one) => [one.metadata.name, one])),
      pools: pools.map(({ node: at, free, deviceClass, ...spec }, i) =>
        pool(`p${i}`, { spec: { ...spec, nodeName: `n${at}` }, status: { freeBytes: free * gibibyte, deviceClass } }),
      ),
      ledger,
    };
  });
const named = fc.option(fc.shuffledSubarray(['n0', 'n1', 'n2', 'n3', 'n9']), { nil: undefined });

describe('place, compared with a look at everything', () => {
  it('chooses the pool that a scan chooses', () => {
    fc.assert(
      fc.property(worlds, wishes, named, (world, wish, nodeNames) => {
        const wanted = { claims: [claimOf(wish)], nodeNames };
        const stock = makeStock(world.nodes.values(), world.pools, world.ledger);
        expect(place(wanted, stock).places?.[0]?.[0]?.poolName).toEqual(placeByScan(wanted, world));
      }),
      { numRuns: 500 },
    );
  });

  it('puts several claims on a node exactly when some way to spread them holds in every order', () => {
    fc.assert(
      fc.property(worlds, fc.array(wishes, { minLength: 1, maxLength: 4 }), named, (world, several, nodeNames) => {
        const claims = several.map(claimOf);
        const stock = makeStock(world.nodes.values(), world.pools, world.ledger);
        const able = ['n0', 'n1', 'n2', 'n3'].filter((name) => holdsByTrial(claims, name, world));
        for (const name of ['n0', 'n1', 'n2', 'n3'])
          expect([name, fitNode(claims, name, stock).fits]).toEqual([name, able.includes(name)]);
        const answer = place({ claims, nodeNames }, stock);
        const asked = nodeNames ? nodeNames.filter((name) => able.includes(name)) : able;
        const at = new Set(answer.places?.flat().map(({ nodeName }) => nodeName));
        expect(at.size).toBe(asked.length === 0 ? 0 : 1);
        for (const name of at) expect(asked).toContain(name);
        if (nodeNames && asked[0]) expect([...at]).toEqual([asked[0]]);
        if (asked.length > 0) return;
        const nodesWithPools = new Set(world.pools.map(({ spec }) => spec.nodeName));
        expect(answer.refusals.map(({ nodeName }) => nodeName).sort()).toEqual(
          [...(nodeNames ?? nodesWithPools)].sort(),
        );
        for (const { reason } of answer.refusals) expect(reason).toMatch(/^(it|its|pool) .+[^.]$/);
      }),
      { numRuns: 300 },
    );
  });

  it('answers the same whatever the order in which nodes, pools and promises came', () => {
    fc.assert(
      fc.property(worlds, fc.array(wishes, { minLength: 1, maxLength: 3 }), fc.nat(), (world, several, seed) => {
        const claims = several.map(claimOf);
        const turn = <T>(items: readonly T[]) => {
          const by = items.length === 0 ? 0 : seed % items.length;
          return [...items.slice(by), ...items.slice(0, by)].reverse();
        };
        const forwards = makeStock(world.nodes.values(), world.pools, world.ledger);
        const backwards = makeStock(turn([...world.nodes.values()]), turn(world.pools), world.ledger);
        expect(place({ claims }, backwards).places).toEqual(place({ claims }, forwards).places);
      }),
    );
  });

  it('never overbooks a pool when what it promises is entered', () => {
    fc.assert(
      fc.property(
        worlds,
        fc.array(fc.array(wishes, { minLength: 1, maxLength: 3 }), { maxLength: 12 }),
        (world, pods) => {
          const stock = makeStock(world.nodes.values(), world.pools, world.ledger);
          const before = new Map(world.pools.map((one) => [one.metadata.name, stock.room(one.metadata.name)]));
          const taken = new Map<string, { all: number; thick: number }>();
          for (const [number, pod] of pods.entries()) {
            const claims = pod.map(claimOf);
            for (const [index, [at]] of place({ claims }, stock).places?.entries() ?? []) {
              const claim = claims[index];
              if (!claim || !at) continue;
              world.ledger.set(promise(`${number}/${index}`, at.poolName, claim));
              const sums = taken.get(at.poolName) ?? { all: 0, thick: 0 };
              sums.all += claim.sizeBytes;
              if (claim.policy.provisioning === 'thick') sums.thick += claim.sizeBytes;
              taken.set(at.poolName, sums);
            }
          }
          for (const [name, { all, thick }] of taken) {
            expect(all).toBeLessThanOrEqual(before.get(name)?.promisableBytes ?? 0);
            expect(thick).toBeLessThanOrEqual(before.get(name)?.thickFreeBytes ?? 0);
          }
        },
      ),
    );
  });

  it('keeps its index equal to one that is made anew, whatever comes and goes', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('promise' as const), name: fc.nat(5), at: fc.nat(7), wish: wishes }),
      fc.record({ do: fc.constant('forget' as const), name: fc.nat(5) }),
      fc.record({ do: fc.constant('cordon' as const), at: fc.nat(3), cordoned: fc.boolean() }),
      fc.record({ do: fc.constant('remove' as const), at: fc.nat(7) }),
      fc.record({ do: fc.constant('fill' as const), at: fc.nat(7), node: fc.nat(3), free: fc.nat(100) }),
    );
    fc.assert(
      fc.property(worlds, fc.array(step, { maxLength: 30 }), wishes, (world, steps, wish) => {
        const claims = [claimOf(wish)];
        const stock = makeStock(world.nodes.values(), world.pools, world.ledger);
        const pools = new Map(world.pools.map((one) => [one.metadata.name, one]));
        const present = new Map(world.nodes);
        for (const one of steps) {
          place({ claims }, stock);
          if (one.do === 'promise') world.ledger.set(promise(`x${one.name}`, `p${one.at}`, claimOf(one.wish)));
          else if (one.do === 'forget') world.ledger.delete(`x${one.name}`);
          else if (one.do === 'cordon') {
            const changed = node(`n${one.at}`, { cordoned: one.cordoned });
            present.set(`n${one.at}`, changed);
            stock.setNode(changed);
          } else if (one.do === 'remove') {
            pools.delete(`p${one.at}`);
            stock.deletePool(`p${one.at}`);
          } else {
            const status = { freeBytes: one.free * gibibyte, deviceClass: 'ssd' };
            const changed = pool(`p${one.at}`, { spec: { nodeName: `n${one.node}` }, status });
            pools.set(`p${one.at}`, changed);
            stock.setPool(changed);
          }
        }
        const anew = makeStock(present.values(), pools.values(), world.ledger);
        expect(place({ claims }, stock).places).toEqual(place({ claims }, anew).places);
        expect(place({ claims }, stock).considered).toEqual(place({ claims }, anew).considered);
      }),
    );
  });
});
