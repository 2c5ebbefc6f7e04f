/** A pool in a ranking. */
interface Slot {
  readonly name: string;
  readonly score: number;
  readonly roomBytes: number;
}

/**
 * Pools in the order of their score, best first, by name among equals; kept up to date one pool at a time. A tournament
 * tree: each inner node knows the best below it and the largest room below it, so a change and a question cost
 * log₂ n steps each, and the order in which pools came does not show.
 */
export class Ranking {
  readonly #slotOf = new Map<string, number>();
  readonly #freeSlots: number[] = [];
  /** Leaves of the tree; a power of two. */
  #size = 1;
  #slots: (Slot | undefined)[] = [undefined];
  /** For tree node i (1 is the root, children 2i and 2i+1, leaf of slot s is size+s): the best slot below it, or -1. */
  #best = new Int32Array([-1, -1]);
  #room = new Float64Array([-1, -1]);

  get count(): number {
    return this.#slotOf.size;
  }

  set(name: string, score: number, roomBytes: number): void {
    const index = this.#slotOf.get(name) ?? this.#newSlot(name);
    const before = this.#slots[index];
    if (before?.score === score && before.roomBytes === roomBytes) return;
    this.#slots[index] = { name, score, roomBytes };
    this.#update(index);
  }

  delete(name: string): void {
    const index = this.#slotOf.get(name);
    if (index === undefined) return;
    this.#slotOf.delete(name);
    this.#freeSlots.push(index);
    this.#slots[index] = undefined;
    this.#update(index);
  }

  /** The names of those with at least so much room, best first. Must not be changed meanwhile. */
  *best(sizeBytes: number): Generator<string> {
    const open = [1];
    while (open.length > 0) {
      const node = this.#takeBest(open);
      const slot = this.#slots[this.#best[node] ?? -1];
      if (!slot || (this.#room[node] ?? -1) < sizeBytes) continue;
      if (node >= this.#size) yield slot.name;
      else this.#add(open, 2 * node, 2 * node + 1);
    }
  }

  #newSlot(name: string): number {
    const index = this.#freeSlots.pop() ?? this.#slotOf.size;
    this.#slotOf.set(name, index);
    if (index >= this.#size) this.#grow();
    return index;
  }

  #grow(): void {
    this.#size *= 2;
    this.#slots.length = this.#size;
    this.#best = new Int32Array(2 * this.#size).fill(-1);
    this.#room = new Float64Array(2 * this.#size).fill(-1);
    for (let index = 0; index < this.#size; index++) if (this.#slots[index]) this.#setLeaf(index);
    for (let node = this.#size - 1; node >= 1; node--) this.#join(node);
  }

  #setLeaf(index: number): void {
    const slot = this.#slots[index];
    this.#best[this.#size + index] = slot ? index : -1;
    this.#room[this.#size + index] = slot ? slot.roomBytes : -1;
  }

  #update(index: number): void {
    this.#setLeaf(index);
    for (let node = (this.#size + index) >> 1; node >= 1; node >>= 1) this.#join(node);
  }

  #join(node: number): void {
    const left = this.#best[2 * node] ?? -1;
    const right = this.#best[2 * node + 1] ?? -1;
    this.#best[node] = this.#isBetter(left, right) ? left : right;
    this.#room[node] = Math.max(this.#room[2 * node] ?? -1, this.#room[2 * node + 1] ?? -1);
  }

  #isBetter(left: number, right: number): boolean {
    const a = this.#slots[left];
    const b = this.#slots[right];
    if (!a || !b) return a !== undefined;
    return a.score === b.score ? a.name < b.name : a.score > b.score;
  }

  #isBetterNode(left: number | undefined, right: number | undefined): boolean {
    return this.#isBetter(this.#best[left ?? 0] ?? -1, this.#best[right ?? 0] ?? -1);
  }

  // A binary heap of tree nodes, by the best slot below each.

  #add(heap: number[], ...nodes: number[]): void {
    for (const node of nodes) {
      let at = heap.push(node) - 1;
      while (at > 0) {
        const parent = (at - 1) >> 1;
        if (!this.#isBetterNode(heap[at], heap[parent])) break;
        swap(heap, at, parent);
        at = parent;
      }
    }
  }

  #takeBest(heap: number[]): number {
    const top = heap[0] ?? 0;
    const last = heap.pop();
    if (heap.length === 0 || last === undefined) return top;
    heap[0] = last;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      if (left >= heap.length) return top;
      const child = left + 1 < heap.length && this.#isBetterNode(heap[left + 1], heap[left]) ? left + 1 : left;
      if (!this.#isBetterNode(heap[child], heap[at])) return top;
      swap(heap, at, child);
      at = child;
    }
  }
}

function swap(heap: number[], a: number, b: number): void {
  const kept = heap[a] ?? 0;
  heap[a] = heap[b] ?? 0;
  heap[b] = kept;
}
