import { describeEngineContract } from '../../../src/engines/contract-suite.ts';
import { lvmEngine } from '../../../src/engines/lvm/engine.ts';
import { common, encryptedEnv, layer } from './parts/encrypted.ts';

/* Runs inside a machine; AZEKURA_LAB_DISKS names two disks that it may spoil, each of which becomes a volume group. */
const disks = (process.env.AZEKURA_LAB_DISKS ?? '').split(',');

describeEngineContract('the engine lvm keeps the contract, encrypted', layer(lvmEngine), () =>
  encryptedEnv(lvmEngine, async () =>
    disks.map((disk, i) => ({ name: `contract${i}`, source: { kind: 'disks', disks: [disk] }, ...common })),
  ),
);
