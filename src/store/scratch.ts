/** For tests: a real store in a folder of its own, and waiting for what others write into it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../lib/clock.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import { openLmdbStore } from './lmdb/lmdb-store.ts';
import type { Store } from './store.ts';

export interface ScratchStore {
  readonly store: Store;
  /** Closes it and removes its folder. */
  close(): Promise<void>;
}

/** @param given used instead of one that is made here, and closed all the same */
export async function openScratchStore(given?: Store): Promise<ScratchStore> {
  const folder = mkdtempSync(join(tmpdir(), 'azekura-store-'));
  const store = given ?? (await openLmdbStore({ path: folder, clock: systemClock }));
  return {
    store,
    close: async () => {
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Waits until an object is as the test wants it. @throws with the object as it is, after some seconds */
export async function untilObject<K extends Kind>(
  store: Store,
  kind: K,
  name: string,
  test: (object: Resource<K> | undefined) => boolean,
): Promise<Resource<K> | undefined> {
  for (let attempt = 0; attempt < 1_000; attempt++) {
    const object = await store.find(kind, name);
    if (test(object)) return object;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`${kind} ${name}: ${JSON.stringify(await store.find(kind, name), undefined, 1)}`);
}
