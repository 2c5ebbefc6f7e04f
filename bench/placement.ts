/**
 * Placement in a simulated cluster of 10,000 nodes with a pool each and 100,000 volumes: one decision at a time, with what
 * it promised entered before the next one is made, so that the index is kept up to date in the measured time.
 */
import { Policy } from '../src/model/policy.ts';
import { gibibyte, makeNode, makePool, makeStock, placeByScan } from '../src/placement/fixture.ts';
import { fitNode, Ledger, place, promise } from '../src/placement/index.ts';
import type { Bench, Measurement } from './bench.ts';

/** The same numbers in every run. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

function percentile(timesMs: readonly number[], share: number): number {
  const sorted = [...timesMs].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

export const placement: Bench = {
  name: 'placement',
  title: 'where a volume or a pod goes, at 10,000 nodes and 100,000 volumes; against a scan of all pools',
  async run({ quick, note }) {
    const nodeCount = 10_000;
    const volumeCount = 100_000;
    const random = sequence(7);
    const nodes = Array.from({ length: nodeCount }, (_, i) => makeNode(`n${i}`));
    const pools = nodes.map(({ metadata }, i) =>
      makePool(`p${i}`, {
        spec: { nodeName: metadata.name, reservePercent: 5 },
        status: { capacityBytes: 4_096 * gibibyte, freeBytes: 4_096 * gibibyte, deviceClass: i % 3 ? 'ssd' : 'hdd' },
      }),
    );
    const ledger = new Ledger();
    const policies = [
      Policy.parse({}),
      Policy.parse({ provisioning: 'thick' }),
      Policy.parse({ deviceClass: 'ssd' }),
      Policy.parse({ deviceClass: 'hdd', provisioning: 'thick' }),
    ];
    const claim = () => ({
      sizeBytes: Math.ceil(random() * 200) * gibibyte,
      policy: policies[Math.floor(random() * policies.length)] ?? Policy.parse({}),
    });
    for (let i = 0; i < volumeCount; i++) ledger.set(promise(`v${i}`, `p${Math.floor(random() * nodeCount)}`, claim()));
    const stock = makeStock(nodes, pools, ledger);
    const state = { nodes: new Map(nodes.map((one) => [one.metadata.name, one])), pools, ledger };
    // What is asked for the first time makes a ranking; a controller does that once in its life.
    for (const policy of policies) place({ claims: [{ sizeBytes: 1, policy }] }, stock);

    const rounds = quick ? 300 : 3_000;
    const time = (work: (round: number) => void, count = rounds): number[] =>
      Array.from({ length: count }, (_, round) => {
        const startedMs = performance.now();
        work(round);
        return performance.now() - startedMs;
      });
    const enter = (name: string, poolName: string | undefined, wanted: ReturnType<typeof claim>) => {
      if (poolName !== undefined) ledger.set(promise(name, poolName, wanted));
    };
    const indexed = time((round) => {
      const wanted = claim();
      enter(`new${round}`, place({ claims: [wanted] }, stock).places?.[0]?.[0]?.poolName, wanted);
    });
    const scanned = time(
      (round) => {
        const wanted = claim();
        enter(`scan${round}`, placeByScan({ claims: [wanted] }, state), wanted);
      },
      Math.ceil(rounds / 10),
    );
    const pod = time((round) => {
      const claims = [claim(), claim(), claim()].map((one, _, [first = one]) => ({ ...one, policy: first.policy }));
      for (const [index, [at]] of place({ claims }, stock).places?.entries() ?? []) {
        const wanted = claims[index];
        if (at && wanted) enter(`pod${round}/${index}`, at.poolName, wanted);
      }
    });
    const huge = () => place({ claims: [{ ...claim(), sizeBytes: 2 ** 50 }] }, stock).refusals;
    const nowhere = time(
      () => {
        if (huge().length !== nodeCount) throw new Error('a volume of 1 PiB fits');
      },
      Math.ceil(rounds / 10),
    );
    const told = time(
      () =>
        huge()
          .map(({ reason }) => reason)
          .join(),
      Math.ceil(rounds / 30),
    );
    const names = nodes.map(({ metadata }) => metadata.name);
    const filtered = time(
      () => {
        const claims = [claim(), claim()].map((one, _, [first = one]) => ({ ...one, policy: first.policy }));
        if (names.filter((name) => fitNode(claims, name, stock).fits).length === 0)
          throw new Error('a pod fits nowhere');
      },
      Math.ceil(rounds / 10),
    );
    const medians = { indexed, scanned, pod, filtered, nowhere, told };
    for (const [name, times] of Object.entries(medians))
      note(`median of ${name}: ${percentile(times, 0.5).toFixed(3)} ms`);
    const scan = percentile(scanned, 0.99);
    const row = (name: string, timesMs: readonly number[], baseline?: number): Measurement => ({
      name: `placement/${name}`,
      value: percentile(timesMs, 0.99),
      unit: 'ms p99',
      ...(baseline === undefined ? {} : { baseline }),
      goal: { of: 'value', is: 'at most', than: 10 },
    });
    return [
      row('one volume', indexed, scan),
      row('pod with 3 claims', pod, 3 * scan),
      row('filter of all nodes, 2 claims', filtered),
      row('nowhere: every node refused', nowhere),
      // Sentences are made for those who read them; nobody waits for ten thousand.
      { ...row('nowhere: every node, in sentences', told), goal: { of: 'value', is: 'at most', than: 150 } },
    ];
  },
};
