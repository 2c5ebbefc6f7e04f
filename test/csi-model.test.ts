import { existsSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Instance, nothingLeft, startInstance } from '../lab/csi/instance.ts';
import type { Command } from '../lab/csi/model.ts';
import { type Manner, Player, type Sequence, snapshots, targets, volumes } from '../lab/csi/player.ts';
import { holdings } from '../lab/daemon.ts';
import { Cleanup, eventually } from '../lab/workbench.ts';

const long = process.env.AZEKURA_LONG === '1';
/** Sequences of calls that are played in the end. */
const sequences = Number(process.env.AZEKURA_SEQUENCES ?? (long ? 2_000 : 400));
/** So many are played at the same time by players with names of their own: a kill meets all of them. */
const players = 16;
const seed = Number(process.env.AZEKURA_SEED ?? Date.now() % 2 ** 31);
/** With the seed: the path that fast-check names when it fails, to play those sequences alone. */
const path = process.env.AZEKURA_PATH;

const cleanup = new Cleanup();
let instance: Instance;
let kills = 0;
let interrupted = 0;
let played = 0;

beforeAll(async () => {
  instance = await startInstance(cleanup, { disk: '256G' });
});
afterAll(() => cleanup.run());

// Mostly the same volume, so that calls meet.
const name = fc.constantFrom(volumes[0], volumes[0], volumes[0], volumes[1], volumes[1], volumes[2]);
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
  { weight: 150, arbitrary: fc.constant({ how: 'once' as const }) },
  { weight: 50, arbitrary: fc.constant({ how: 'twice' as const }) },
  {
    weight: 50,
    arbitrary: fc.record({ how: fc.constant('cancelled' as const), afterMs: fc.integer({ min: 0, max: 30 }) }),
  },
  // About one for all players together.
  {
    weight: 1,
    arbitrary: fc.record({ how: fc.constant('killed' as const), afterMs: fc.integer({ min: 0, max: 40 }) }),
  },
);
const sequence: fc.Arbitrary<Sequence> = fc.array(fc.record({ command, manner }), {
  minLength: 4,
  maxLength: long ? 24 : 12,
  size: 'max',
});

let starting: Promise<void> | undefined;

/** Two that would kill at the same time share one kill. */
function kill(): Promise<void> {
  starting ??= (async () => {
    await instance.daemon.kill();
    kills += 1;
    instance.daemon.launch();
    starting = undefined;
  })();
  return starting;
}

/** Whether all that is there is what the players' models say together. */
async function compare(all: readonly Player[]): Promise<void> {
  const { controller } = instance.client;
  const byHandle = (a: { handle: string | undefined }, b: { handle: string | undefined }) =>
    (a.handle ?? '') < (b.handle ?? '') ? -1 : 1;
  const listed = (await controller.listVolumes({})).entries.map(({ volume, status }) => ({
    handle: volume?.volumeId,
    bytes: volume?.capacityBytes,
    published: (status?.publishedNodeIds.length ?? 0) > 0,
  }));
  const wanted = all.flatMap(({ model }) =>
    [...model.volumes.values()].map(({ handle, sizeMib: size, attachedBy }) => ({
      handle,
      bytes: BigInt(size) << 20n,
      published: attachedBy !== undefined,
    })),
  );
  expect(listed.sort(byHandle)).toEqual(wanted.sort(byHandle));
  const cut = (await controller.listSnapshots({})).entries.map(({ snapshot: one }) => ({
    handle: one?.snapshotId,
    volumeHandle: one?.sourceVolumeId,
  }));
  const wantedCut = all.flatMap(({ model }) =>
    [...model.snapshots.values()].map(({ handle, volumeHandle }) => ({ handle, volumeHandle })),
  );
  expect(cut.sort(byHandle)).toEqual(wantedCut.sort(byHandle));
  const { scratch } = instance;
  const there = holdings(`${scratch}/staging`).mounts.concat(holdings(`${scratch}/target`).mounts);
  expect(there.sort()).toEqual(all.flatMap((player) => player.mounts()).sort());
  for (const mount of there) expect(existsSync(mount)).toBe(true);
}

/** Plays the sequences at the same time, each by a player of its own. */
async function play(given: readonly Sequence[]): Promise<void> {
  const { client, nodeId, scratch } = instance;
  const all = given.map((_, index) => new Player({ client, nodeId, scratch, prefix: `p${index}-` }, kill));
  // One that found something wrong waits for the others, so that all of them can be taken down.
  const outcomes = await Promise.allSettled(all.map((player, index) => player.play(given[index] ?? [])));
  try {
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    await eventually(() => compare(all), 5_000);
  } finally {
    await Promise.all(all.map((player) => player.clear()));
    await nothingLeft(instance.daemon);
    await compare([]);
    for (const player of all) interrupted += player.interrupted;
    played += all.length;
  }
}

describe(`random sequences of CSI calls, seed ${seed}`, () => {
  it(
    `end in the state of the model, ${sequences}: repeated, at the same time, cancelled, killed`,
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(sequence, { minLength: 1, maxLength: players, size: 'max' }), async (given) => {
          if (played < sequences) await play(given);
        }),
        { numRuns: sequences, seed, endOnFailure: false, ...(path === undefined ? {} : { path }) },
      );
      if (path === undefined) expect(played).toBeGreaterThanOrEqual(sequences);
      expect(kills).toBeGreaterThan(0);
      expect(interrupted).toBeGreaterThan(0);
      console.log(`${played} sequences, ${kills} kills, ${interrupted} calls without a definite answer`);
    },
    long ? 4 * 3_600_000 : 1_800_000,
  );

  // Found by the above and shrunk.
  const once = { how: 'once' } as const;
  const found: readonly (readonly [string, Sequence])[] = [
    [
      'a volume that was staged first and attached then stays attached when it is unstaged',
      [
        { command: { do: 'stage', name: '0' }, manner: once },
        { command: { do: 'publishController', name: '0' }, manner: once },
        { command: { do: 'unstage', name: '0' }, manner: once },
      ],
    ],
  ];
  it.each(found)('%s', async (_what, given) => {
    await play([given]);
  });
});
