import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../lib/log.ts';
import type { Pool } from '../../model/kinds.ts';
import { makePool } from '../../placement/fixture.ts';
import type { AgentContext } from '../context.ts';
import { PoolWatch } from './watch.ts';

const space = { sizeBytes: 100 * 2 ** 30, freeBytes: 100 * 2 ** 30 };
const minuteMs = 60_000;

/** A node with one pool, and a clock that is moved by hand. */
class World {
  nowMs = 1_000 * minuteMs;
  observed = 0;
  glances = 0;
  freeBytes = space.freeBytes;
  readonly watch: PoolWatch;
  #due: { readonly atMs: number; readonly run: () => void } | undefined;

  constructor(one: Pool, poolIsFilesystem: boolean) {
    this.watch = new PoolWatch({
      state: { ownPools: () => [one], replicas: { onChange: () => () => {} }, replicasOn: () => [] },
      trigger: () => {
        this.observed += 1;
      },
      deps: {
        nodeName: 'n1',
        log: silentLogger,
        engines: () => ({ capabilities: { poolIsFilesystem } }),
        clock: {
          nowMs: () => this.nowMs,
          after: (ms: number, run: () => void) => {
            this.#due = { atMs: this.nowMs + ms, run };
            return () => {};
          },
        },
        host: {
          glanceAtSpace: async () => {
            this.glances += 1;
            return { ...space, freeBytes: this.freeBytes };
          },
        },
      },
    } as unknown as AgentContext);
  }

  async pass(ms: number): Promise<void> {
    for (const endMs = this.nowMs + ms; this.#due && this.#due.atMs <= endMs; ) {
      this.nowMs = this.#due.atMs;
      this.#due.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

const ready = makePool('main', { status: { poolId: 'p', path: '/pool' } });

describe('the watch over pools', () => {
  let world: World;
  afterEach(() => world.watch.stop());

  it('glances at a file system, and observes it when its room has changed, or after ten minutes', async () => {
    world = new World(ready, true);
    await world.pass(5 * minuteMs);
    // The first look of all.
    expect(world.observed).toBe(1);
    expect(world.glances).toBe(10);
    world.freeBytes /= 2;
    await world.pass(minuteMs / 2);
    expect(world.observed).toBe(2);
    world.freeBytes = space.freeBytes;
    await world.pass(11 * minuteMs);
    expect(world.observed).toBe(3);
  });

  it('observes what no glance can tell of each time: a thin pool must be extended before it is full', async () => {
    world = new World(ready, false);
    await world.pass(5 * minuteMs);
    expect(world.observed).toBe(11);
    expect(world.glances).toBe(0);
  });
});
