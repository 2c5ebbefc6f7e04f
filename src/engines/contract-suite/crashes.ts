import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { makeSteps, type Steps } from '../../lib/steps.ts';
import type { CreateVolume, Engine, SnapshotRef } from '../contract.ts';
import { type ContractKit, scribbleOn } from './kit.ts';

/** Stands for the end of the process at a step: nothing catches it. */
class Crash extends Error {}

/** One operation on a volume, with all that it may need made before. */
interface Scenario {
  readonly name: string;
  /** Whether the volume is attached while it happens, by us. */
  readonly attached?: boolean;
  prepare?(kit: ContractKit): Promise<Prepared>;
  run(kit: ContractKit, engine: Engine, prepared: Prepared): Promise<void>;
  /** What must be true afterwards, whether or not it was interrupted. */
  check(kit: ContractKit, prepared: Prepared): Promise<void>;
}

interface Prepared {
  readonly request: CreateVolume;
  readonly snapshot?: SnapshotRef;
}

/**
 * For every step of every operation (or a share of them: crashStride): the process ends just before or just after it, a fresh engine does the operation
 * again, and everything is as if nothing had happened.
 */
export function describeCrashes(kit: ContractKit): void {
  describe('a crash at any step', () => {
    for (const scenario of scenarios(kit)) {
      it(`of ${scenario.name} does no harm`, async () => {
        const points = await rehearse(kit, scenario);
        expect(points).toBeGreaterThan(0);
        const stride = kit.env.crashStride ?? 1;
        for (let point = randomInt(Math.min(stride, points)); point < points; point += stride) {
          const prepared = await begin(kit, scenario);
          const where = `crash point ${point} of ${points}`;
          expect(await interrupt(kit, scenario, prepared, point), where).toBe(true);
          try {
            await scenario.run(kit, kit.engine(), prepared);
            await scenario.check(kit, prepared);
            await finish(kit, prepared);
          } catch (error) {
            throw new Error(`after ${where}: ${(error as Error).message}`, { cause: error });
          }
        }
      });
    }
  });
}

/** How many crash points the operation has. */
async function rehearse(kit: ContractKit, scenario: Scenario): Promise<number> {
  const prepared = await begin(kit, scenario);
  let points = 0;
  await scenario.run(kit, kit.engine(makeSteps({}, () => points++)), prepared);
  await scenario.check(kit, prepared);
  await finish(kit, prepared);
  return points;
}

async function begin(kit: ContractKit, scenario: Scenario): Promise<Prepared> {
  const prepared = (await scenario.prepare?.(kit)) ?? { request: kit.request({ mode: 'block', provisioning: 'thin' }) };
  if (scenario.attached) await kit.engine().volumes.attach(prepared.request.volume, { readOnly: false });
  return prepared;
}

async function interrupt(kit: ContractKit, scenario: Scenario, prepared: Prepared, point: number): Promise<boolean> {
  let left = point;
  const steps: Steps = makeSteps({}, () => {
    if (left-- === 0) throw new Crash();
  });
  try {
    await scenario.run(kit, kit.engine(steps), prepared);
    return false;
  } catch (error) {
    if (error instanceof Crash) return true;
    throw error;
  }
}

/** Nothing unfinished and no device is left, and the volume can be deleted. */
async function finish(kit: ContractKit, { request }: Prepared): Promise<void> {
  const engine = kit.engine();
  expect(await engine.pools.sweep(request.volume.pool, { idle: true })).toEqual([]);
  await engine.volumes.detach(request.volume);
  expect(await kit.devices(request.volume.pool)).toEqual([]);
  await engine.volumes.delete(request.volume);
  expect(await engine.volumes.observe(request.volume)).toMatchObject({ present: false, recycled: false });
  expect(await engine.pools.sweep(request.volume.pool, { idle: true })).toEqual([]);
}

/** At least a mebibyte, and a step of the engine. */
function growth(kit: ContractKit): number {
  return Math.max(2 ** 20, kit.step);
}

function scenarios(kit: ContractKit): readonly Scenario[] {
  const { capabilities } = kit.definition;
  const until = { deletedAt: '2026-01-01T00:00:00.000Z', expiresAt: '2026-01-02T00:00:00.000Z' };
  const block = { mode: 'block', provisioning: 'thin' } as const;
  const present = async ({ request }: Prepared) => {
    const observed = await kit.engine().volumes.observe(request.volume);
    expect(observed).toMatchObject({
      present: true,
      sizeBytes: request.identity.sizeBytes,
      identity: request.identity,
      causes: [],
    });
  };
  const made = async (): Promise<Prepared> => ({ request: await kit.create(block) });
  const withSnapshot = async (): Promise<Prepared> => {
    const request = await kit.create(block);
    await kit.scribble(request.volume, 3);
    return { request, snapshot: await kit.takeSnapshot(request.volume) };
  };
  const ofSnapshot = (prepared: Prepared): SnapshotRef => {
    if (!prepared.snapshot) throw new Error('no snapshot was prepared');
    return prepared.snapshot;
  };

  const list: Scenario[] = kit.variants().map((variant) => ({
    name: `making a volume, ${variant.provisioning} ${variant.filesystem ?? variant.mode}`,
    prepare: async () => ({ request: kit.request(variant) }),
    run: (_, engine, { request }) => engine.volumes.create(request),
    check: async (_, prepared) => present(prepared),
  }));
  for (const provisioning of capabilities.provisioning) {
    list.push({
      name: `growing an attached ${provisioning} volume`,
      attached: true,
      prepare: async () => ({ request: await kit.create({ mode: 'block', provisioning }) }),
      run: (_, engine, { request }) => engine.volumes.expand(request.volume, request.identity.sizeBytes + growth(kit)),
      check: async (_, { request }) => {
        const sizeBytes = request.identity.sizeBytes + growth(kit);
        expect(await kit.engine().volumes.observe(request.volume)).toMatchObject({
          sizeBytes,
          identity: { sizeBytes },
        });
      },
    });
  }
  list.push(
    {
      name: 'attaching and detaching',
      prepare: made,
      run: async (_, engine, { request }) => {
        const { device } = await engine.volumes.attach(request.volume, { readOnly: false });
        scribbleOn(device, 1);
        await engine.volumes.detach(request.volume);
      },
      check: async (_, prepared) => present(prepared),
    },
    {
      name: 'deleting a volume',
      prepare: made,
      run: (_, engine, { request }) => engine.volumes.delete(request.volume),
      check: async (_, { request }) => expect((await kit.engine().volumes.observe(request.volume)).present).toBe(false),
    },
  );
  if (capabilities.recycle) {
    list.push(
      {
        name: 'recycling a volume',
        prepare: made,
        run: async (_, engine, { request }) => engine.volumes.recycle?.(request.volume, until),
        check: async (_, { request }) => {
          const observed = await kit.engine().volumes.observe(request.volume);
          expect(observed).toMatchObject({ present: false, recycled: true, identity: { recycled: until } });
        },
      },
      {
        name: 'taking a volume out of the recycle bin',
        prepare: async () => {
          const prepared = await made();
          await kit.engine().volumes.recycle?.(prepared.request.volume, until);
          return prepared;
        },
        run: async (_, engine, { request }) => engine.volumes.restoreRecycled?.(request.volume, request.identity),
        check: async (_, prepared) => present(prepared),
      },
    );
  }
  if (capabilities.snapshots) {
    list.push(
      {
        name: 'taking a snapshot',
        prepare: async () => {
          const prepared = await made();
          return { ...prepared, snapshot: kit.snapshotOf(prepared.request.volume).ref };
        },
        run: async (_, engine, prepared) => {
          const ref = ofSnapshot(prepared);
          const identity = { ...kit.snapshotOf(ref).identity, snapshotId: ref.snapshotId };
          await kit.snapshots(engine).prepare(ref);
          await kit.snapshots(engine).cut(ref);
          await kit.snapshots(engine).commit(ref, identity);
        },
        check: async (_, prepared) =>
          expect(await kit.snapshots().observe(ofSnapshot(prepared))).toMatchObject({ present: true, causes: [] }),
      },
      {
        name: 'deleting a snapshot',
        prepare: withSnapshot,
        run: (_, engine, prepared) => kit.snapshots(engine).delete(ofSnapshot(prepared)),
        check: async (_, prepared) => {
          expect((await kit.snapshots().observe(ofSnapshot(prepared))).present).toBe(false);
          await present(prepared);
        },
      },
    );
  }
  if (capabilities.restoreInPlace) {
    list.push({
      name: 'restoring a snapshot in place',
      prepare: withSnapshot,
      run: async (_, engine, prepared) => kit.snapshots(engine).restore?.(ofSnapshot(prepared)),
      check: async (_, prepared) => present(prepared),
    });
  }
  if (capabilities.clones) {
    list.push({
      name: 'making a larger clone of a snapshot',
      prepare: async () => {
        const { snapshot, request } = await withSnapshot();
        if (!snapshot) throw new Error('no snapshot was prepared');
        const sizeBytes = request.identity.sizeBytes + growth(kit);
        return { request: kit.request(block, { sizeBytes, source: { kind: 'snapshot', snapshot } }), snapshot };
      },
      run: (_, engine, { request }) => engine.volumes.create(request),
      check: async (_, prepared) => {
        await present(prepared);
        await kit.engine().volumes.delete(ofSnapshot(prepared));
      },
    });
  }
  if (capabilities.move !== 'no') {
    list.push({
      name: 'moving a volume with a snapshot',
      prepare: async () => {
        const { request, snapshot } = await withSnapshot();
        await kit.scribble(request.volume, 3);
        const volume = { ...request.volume, pool: kit.otherPool };
        return {
          request: { ...request, volume, source: { kind: 'move', volume: request.volume } },
          ...(snapshot ? { snapshot } : {}),
        };
      },
      run: (_, engine, { request }) => engine.volumes.create(request),
      check: async (_, prepared) => {
        await present(prepared);
        const { pool, volumeId, snapshotId } = ofSnapshot(prepared);
        const moved = { ...prepared.request.volume, snapshotId };
        expect(await kit.snapshots().observe(moved)).toMatchObject({ present: true, causes: [] });
        expect(await kit.contentOf(prepared.request.volume)).toBe(await kit.contentOf({ pool, volumeId }));
        await kit.engine().volumes.delete({ pool, volumeId });
      },
    });
  }
  return list;
}
