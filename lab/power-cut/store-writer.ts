/** Writes to the state store on the disk that will be cut, and checks what of them is there afterwards. */
import { systemClock } from '../../src/lib/clock.ts';
import { openLmdbStore } from '../../src/store/lmdb/lmdb-store.ts';
import type { Store } from '../../src/store/store.ts';

/** An object that was written, and the length of the log when the store had answered; `turn` is its content. */
export interface StoreAck {
  readonly position: number;
  readonly name: string;
  readonly turn: number;
}

/** Objects are written over and over, so that both creation and replacement are seen. */
const objectCount = 7;

export class StoreWriter {
  readonly acks: StoreAck[] = [];
  readonly #store: Store;
  readonly #position: () => number;
  #turn = 0;

  private constructor(store: Store, position: () => number) {
    this.#store = store;
    this.#position = position;
  }

  static async open(path: string, position: () => number): Promise<StoreWriter> {
    return new StoreWriter(await openLmdbStore({ path, clock: systemClock }), position);
  }

  async turn(): Promise<void> {
    const turn = ++this.#turn;
    const name = `class-${turn % objectCount}`;
    const labels = { turn: String(turn) };
    const present = await this.#store.find('Class', name);
    if (present) await this.#store.update({ ...present, metadata: { ...present.metadata, labels } });
    else await this.#store.create({ kind: 'Class', metadata: { name, labels }, spec: {} });
    this.acks.push({ position: this.#position(), name, turn });
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** Opens the store that is in a crash image. */
export async function verifyStore(
  path: string,
  acks: readonly StoreAck[],
  position: number,
): Promise<{ readonly checked: number; readonly problems: readonly string[] }> {
  const due = acks.filter((ack) => ack.position <= position);
  const last = new Map(due.map((ack) => [ack.name, ack.turn]));
  const problems: string[] = [];
  const store = await openLmdbStore({ path, clock: systemClock });
  try {
    for (const [name, turn] of last) {
      const found = Number((await store.find('Class', name))?.metadata.labels.turn ?? 0);
      if (found < turn) problems.push(`store: ${name} has write ${found} instead of ${turn}`);
    }
  } finally {
    await store.close();
  }
  return { checked: due.length, problems };
}
