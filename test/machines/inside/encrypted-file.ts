import { mkdirSync } from 'node:fs';
import type { PoolRef } from '../../../src/engines/contract.ts';
import { describeEngineContract } from '../../../src/engines/contract-suite.ts';
import { fileEngine } from '../../../src/engines/file/engine.ts';
import { common, encryptedEnv, layer } from './parts/encrypted.ts';
import { machineHost } from './parts/host.ts';

/* Runs inside a machine; AZEKURA_LAB_DISKS names a disk that it may spoil: two folders on it are the pools. */
const disk = process.env.AZEKURA_LAB_DISKS ?? '';

describeEngineContract('the engine file keeps the contract, encrypted', layer(fileEngine), () =>
  encryptedEnv(fileEngine, async (scratch) => {
    const host = machineHost();
    const kernel = host.kernel('contract');
    await host.exec(['mkfs.xfs', '-q', '-f', '-s', 'size=4096', disk]);
    await kernel.makeMountPoint(`${scratch}/disk`, 'directory');
    await kernel.mount({ source: disk, target: `${scratch}/disk`, filesystem: 'xfs' });
    await host.close();
    return ['first', 'second'].map((name): PoolRef => {
      mkdirSync(`${scratch}/disk/${name}`);
      return { name, source: { kind: 'directory', path: `${scratch}/disk/${name}` }, ...common };
    });
  }),
);
