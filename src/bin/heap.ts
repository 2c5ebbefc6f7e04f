import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../lib/clock.ts';

const lookEveryMs = 10_000;
/** Growth between two looks up to which the process is at rest, and growth since the last collection that is worth one. */
const restBytes = 2 ** 19;
const worthBytes = 2 ** 21;
/** V8 gives pages back only when it has found them empty more than once. */
const collections = 3;

/**
 * Has V8 collect sooner rather than let the heap grow: a node's daemon lives beside what it serves, and is idle most of
 * the time, when nothing else would give back what its last work has left. NODE_OPTIONS does not take this flag.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--optimize-for-size');
}

/** The heap as V8 has it. */
export interface Heap {
  usedBytes(): number;
  collect(): void;
}

/**
 * Collects when the process has come to rest after work: V8 looks at its heap only when something is allocated, and an
 * idle daemon would keep what the last burst has left. Each collection stops the process for as long as it takes to walk
 * what lives, some 30 ms for a node's daemon; nobody waits then.
 *
 * @returns ends it
 */
export function collectAtRest(clock: Clock, heap: Heap = thisHeap()): () => void {
  let before = 0;
  let collected = 0;
  let left = 0;
  let cancel = () => {};
  const look = () => {
    const used = heap.usedBytes();
    const resting = Math.abs(used - before) < restBytes;
    if (resting && used - collected >= worthBytes) left = collections;
    if (resting && left > 0) {
      left -= 1;
      heap.collect();
      collected = heap.usedBytes();
    }
    before = heap.usedBytes();
    cancel = clock.after(lookEveryMs, look);
  };
  cancel = clock.after(lookEveryMs, look);
  return () => cancel();
}

/** The collector has no other name in Node than the one that this flag gives it in new contexts. */
function thisHeap(): Heap {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  setFlagsFromString('--no-expose-gc');
  return { usedBytes: () => getHeapStatistics().used_heap_size, collect };
}
