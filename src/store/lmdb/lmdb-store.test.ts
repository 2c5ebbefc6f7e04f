import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../lib/clock.ts';
import { changeStatus } from '../change.ts';
import { newVolume } from '../contract-helpers.ts';
import { describeStoreContract } from '../contract-suite.ts';
import { openLmdbStore } from './lmdb-store.ts';

const historyLimit = 1_000;

describeStoreContract('LMDB', async () => {
  const path = await mkdtemp(join(tmpdir(), 'azekura-store-'));
  const open = () => openLmdbStore({ path, clock: systemClock, historyLimit });
  let store = await open();
  return {
    get store() {
      return store;
    },
    async reopen() {
      await store.close();
      store = await open();
      return store;
    },
    async dispose() {
      await store.close();
      await rm(path, { recursive: true });
    },
    async expireHistory() {
      await store.create(newVolume('filler'));
      for (let count = 0; count < historyLimit * 1.1; count++) {
        await changeStatus(store, 'Volume', 'filler', () => ({ exclusiveBytes: count }));
      }
    },
  };
});
