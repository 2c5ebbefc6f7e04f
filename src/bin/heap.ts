import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 collect sooner rather than let the heap grow: a node's daemon lives beside what it serves, and is idle most of
 * the time, when nothing else would give back what its last work has left. NODE_OPTIONS does not take this flag.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--optimize-for-size');
}
