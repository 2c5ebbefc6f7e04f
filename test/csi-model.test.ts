import { existsSync, mkdirSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CallError } from '../lab/csi/client.ts';
import { type Instance, nothingLeft, startInstance } from '../lab/csi/instance.ts';
import { type Command, Model, type Step, stagingPath, stepOf, takeDown, type World } from '../lab/csi/model.ts';
import { isIndefinite, persistCall } from '../lab/csi/persist.ts';
import { holdings } from '../lab/daemon.ts';
import { Cleanup, eventually, sleep } from '../lab/workbench.ts';

const long = process.env.AZEKURA_LONG === '1';
/** Sequences of calls at most; without AZEKURA_LONG as many of them as fit into the time. */
const sequences = Number(process.env.AZEKURA_SEQUENCES ?? (long ? 2_000 : 400));
const timeMs = long ? 3 * 3_600_000 : 60_000;
/** Fewer would say nothing. */
const fewest = 10;
const seed = Number(process.env.AZEKURA_SEED ?? Date.now() % 2 ** 31);
/** With the seed: the path that fast-check names when it fails, to play that sequence alone. */
const path = process.env.AZEKURA_PATH;

/** CSI names; commands have their numbers, which also name the paths. */
const volumes = ['vol-a', 'Vol B/ü', 'v'.repeat(128)];
const snapshots = ['snap-1', 'snap-2'];
const targets = ['t1', 't2'];

/** How a command is given: once, twice at the same time, cancelled after a while, or with a kill -9 in the middle. */
type Manner = { readonly how: 'once' | 'twice' } | { readonly how: 'cancelled' | 'killed'; readonly afterMs: number };

const cleanup = new Cleanup();
let instance: Instance;
let world: World;
let kills = 0;
let interrupted = 0;
let played = 0;

beforeAll(async () => {
  instance = await startInstance(cleanup, { disk: '64G' });
  const { client, nodeId, scratch } = instance;
  world = { client, nodeId, scratch };
});
afterAll(() => cleanup.run());

// Mostly the same volume, so that calls meet.
const name = fc.constantFrom('0', '0', '0', '1', '1', '2');
const sizeMib = fc.constantFrom(512, 768, 1_024);
const snapshot = fc.constantFrom(...snapshots);
const target = fc.constantFrom(...targets);
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('createVolume' as const), name, sizeMib }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('createVolume' as const), name, sizeMib, snapshot }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('deleteVolume' as const, 'unstage' as const, 'unpublishController' as const),
      name,
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('publishController' as const, 'stage' as const), name }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('publish' as const), name, target }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unpublish' as const), name, target }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('expand' as const), name, sizeMib }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('createSnapshot' as const), snapshot, name }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('deleteSnapshot' as const), snapshot }) },
);
const manner: fc.Arbitrary<Manner> = fc.oneof(
  { weight: 36, arbitrary: fc.constant({ how: 'once' as const }) },
  { weight: 12, arbitrary: fc.constant({ how: 'twice' as const }) },
  {
    weight: 12,
    arbitrary: fc.record({ how: fc.constant('cancelled' as const), afterMs: fc.integer({ min: 0, max: 30 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ how: fc.constant('killed' as const), afterMs: fc.integer({ min: 0, max: 40 }) }),
  },
);

const codeOf = (error: unknown) => {
  if (error instanceof CallError) return error.codeName;
  throw error;
};

/** Gives the command in its manner, and then until it has a definite answer. @returns the code, and the answer when OK */
async function give(step: Step, how: Manner): Promise<{ code: string; answer?: unknown }> {
  const first = beginning(step, how);
  await first;
  try {
    return { code: 'OK', answer: await persistCall(() => step.call({ deadlineMs: 20_000 })) };
  } catch (error) {
    return { code: codeOf(error) };
  }
}

/** The part that is disturbed: whatever it is answered must be what is expected, or say that nothing is certain. */
async function beginning(step: Step, how: Manner): Promise<void> {
  const admit = (promise: Promise<unknown>) =>
    promise.then(
      () => expect(step.expected).toBe('OK'),
      (error: unknown) => {
        if (isIndefinite(error)) interrupted += 1;
        else expect(codeOf(error)).toBe(step.expected);
      },
    );
  switch (how.how) {
    case 'once':
      return;
    case 'twice':
      await Promise.all([admit(step.call({})), admit(step.call({}))]);
      return;
    case 'cancelled': {
      const abort = new AbortController();
      const running = admit(step.call({ signal: abort.signal }));
      await sleep(how.afterMs);
      abort.abort();
      await running;
      return;
    }
    case 'killed': {
      const running = admit(step.call({ deadlineMs: 5_000 }));
      await sleep(how.afterMs);
      await instance.daemon.kill();
      kills += 1;
      instance.daemon.launch();
      await running;
      return;
    }
  }
}

async function compare(model: Model): Promise<void> {
  const { controller } = instance.client;
  const listed = (await controller.listVolumes({})).entries.map(({ volume, status }) => ({
    handle: volume?.volumeId,
    bytes: volume?.capacityBytes,
    published: (status?.publishedNodeIds.length ?? 0) > 0,
  }));
  const wanted = [...model.volumes.values()].map(({ handle, sizeMib: size, attachedBy }) => ({
    handle,
    bytes: BigInt(size) << 20n,
    published: attachedBy !== undefined,
  }));
  const byHandle = (a: { handle: string | undefined }, b: { handle: string | undefined }) =>
    (a.handle ?? '') < (b.handle ?? '') ? -1 : 1;
  expect(listed.sort(byHandle)).toEqual(wanted.sort(byHandle));
  const cut = (await controller.listSnapshots({})).entries.map(({ snapshot: one }) => ({
    handle: one?.snapshotId,
    volumeHandle: one?.sourceVolumeId,
  }));
  expect(cut.sort(byHandle)).toEqual(
    [...model.snapshots.values()].map(({ handle, volumeHandle }) => ({ handle, volumeHandle })).sort(byHandle),
  );
  const mounts = [...model.volumes].flatMap(([each, { staged, targets: shown }]) =>
    staged ? [stagingPath(world, each), ...shown] : [...shown],
  );
  const there = holdings(`${world.scratch}/staging`).mounts.concat(holdings(`${world.scratch}/target`).mounts);
  expect(there.sort()).toEqual(mounts.sort());
  for (const { targets: shown } of model.volumes.values())
    for (const path of shown) expect(existsSync(path)).toBe(true);
}

const beginningOf = { command: { do: 'createVolume', name: '0', sizeMib: 512 }, manner: { how: 'once' } } as const;

async function play(sequence: readonly { readonly command: Command; readonly manner: Manner }[]): Promise<void> {
  const model = new Model();
  const run = async (given: Command, how: Manner) => {
    const step = stepOf(given, model, world, 'name' in given ? (volumes[Number(given.name)] ?? '') : '');
    const { code, answer } = await give(step, how);
    expect({ command: given, code }).toEqual({ command: given, code: step.expected });
    if (code === 'OK') step.apply(answer);
  };
  try {
    // Without a volume all other calls are NOT_FOUND, and teach little.
    for (const { command: given, manner: how } of [beginningOf, ...sequence]) await run(given, how);
    await eventually(() => compare(model), 5_000);
  } finally {
    for (const given of takeDown(model, targets)) await run(given, { how: 'once' });
    await nothingLeft(instance.daemon);
    await compare(new Model());
  }
}

describe(`random sequences of CSI calls, seed ${seed}`, () => {
  it(
    `end in the state of the model, ${long ? sequences : 'as many as fit into 60 s'}: repeated, at the same time, cancelled, killed`,
    async () => {
      for (const index of volumes.keys()) mkdirSync(stagingPath(world, String(index)), { recursive: true });
      const endMs = performance.now() + timeMs;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ command, manner }), { minLength: 6, maxLength: 24 }),
          async (sequence) => {
            if (performance.now() > endMs) return;
            await play(sequence);
            played += 1;
          },
        ),
        { numRuns: sequences, seed, ...(path === undefined ? {} : { path }) },
      );
      expect(played).toBeGreaterThanOrEqual(long ? sequences : fewest);
      expect(kills).toBeGreaterThan(0);
      expect(interrupted).toBeGreaterThan(0);
      console.log(`${played} sequences, ${kills} kills, ${interrupted} calls without a definite answer`);
    },
    long ? 4 * 3_600_000 : 300_000,
  );

  // Found by the above and shrunk.
  const once = { how: 'once' } as const;
  const found: readonly (readonly [string, readonly { readonly command: Command; readonly manner: Manner }[]])[] = [
    [
      'a volume that was staged first and attached then stays attached when it is unstaged',
      [
        { command: { do: 'stage', name: '0' }, manner: once },
        { command: { do: 'publishController', name: '0' }, manner: once },
        { command: { do: 'unstage', name: '0' }, manner: once },
      ],
    ],
  ];
  it.each(found)('%s', async (_what, sequence) => {
    await play(sequence);
  });
});
