import { writeSync } from 'node:fs';
import { systemClock } from '../src/lib/clock.ts';
import { changeStatus } from '../src/store/change.ts';
import { openLmdbStore } from '../src/store/lmdb/lmdb-store.ts';

/**
 * The victim of store-durability.test.ts: writes to the store in argv[2] until it is killed, and prints a line after
 * each acknowledgement. Writer w has one counter object `w<w>`; with step i it sets the counter to i, makes the object
 * `w<w>-<i>`, and deletes `w<w>-<i - 5>`.
 */
const [path = '', writers = '8'] = process.argv.slice(2);
const store = await openLmdbStore({ path, clock: systemClock, historyLimit: 200_000 });
writeSync(1, 'open\n');

await Promise.all(Array.from({ length: Number(writers) }, (_, writer) => write(`w${writer}`)));

async function write(name: string): Promise<void> {
  const spec = { sizeBytes: 4096 };
  const counter =
    (await store.find('Volume', name)) ?? (await store.create({ kind: 'Volume', metadata: { name }, spec }));
  for (let step = (counter.status.exclusiveBytes ?? 0) + 1; ; step++) {
    // The step before may have been cut off after its counter: what it left undone is done again.
    for (const due of [step - 1, step]) {
      if (due > 0 && !(await store.find('Snapshot', `${name}-${due}`))) {
        await store.create({ kind: 'Snapshot', metadata: { name: `${name}-${due}` }, spec: { volumeName: name } });
      }
      if (due > 5) await store.delete('Snapshot', `${name}-${due - 5}`);
    }
    await changeStatus(store, 'Volume', name, () => ({ exclusiveBytes: step }));
    writeSync(1, `${name} ${step}\n`);
  }
}
