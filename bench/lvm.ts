import path from 'node:path';
import { ensureBuilt } from '../lab/daemon.ts';
import { startMachines } from '../lab/machines/index.ts';
import { bundle } from '../test/machines/bundle.ts';
import type { Bench, Measurement } from './bench.ts';

interface Commands {
  readonly create: number;
  readonly bareCreate: number;
  readonly snapshot: number;
  readonly bareSnapshot: number;
  readonly observe: number;
}
type Devices = Readonly<Record<string, { readonly volume: number; readonly byHand: number }>>;
interface Result {
  readonly io: Devices;
  readonly luks: Devices;
  readonly few: Commands;
  readonly many: Commands;
  readonly volumes: number;
}

/** The engine lvm in a machine of the lab, against logical volumes and commands of LVM by hand. */
export const lvm: Bench = {
  name: 'lvm',
  title: 'logical volumes and the commands for them, in a machine of the lab, against LVM by hand',
  async run({ quick, note }) {
    ensureBuilt();
    await using lab = await startMachines({ memory: '1G', disks: ['60G'] });
    const machine = lab.machine(1);
    await bundle('bench-lvm.ts', lab.shared);
    const worker = path.resolve(import.meta.dirname, '../dist/kernel-worker.mjs');
    const volumes = quick ? 60 : 500;
    const { stdout } = await machine.exec(
      ['node', '/shared/bench-lvm.mjs', worker, '/dev/ubda', String(volumes), quick ? '5' : '15'],
      { deadlineMs: 30 * 60_000 },
    );
    const { io, luks, few, many } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Result;
    note(`${volumes} volumes: observe ${few.observe.toFixed(2)} ms, then ${many.observe.toFixed(2)} ms`);
    const rows = (prefix: string, devices: Devices, least: number): Measurement[] =>
      Object.entries(devices).map(([kind, { volume, byHand }]) => ({
        name: `${prefix}/${kind}`,
        value: volume,
        unit: 'IOPS',
        baseline: byHand,
        goal: { of: 'ratio', is: 'at least', than: least },
      }));
    const against = (name: string, value: number, baseline: number): Measurement => ({
      name,
      value,
      unit: 'ms',
      baseline,
      goal: { of: 'ratio', is: 'at most', than: 1.2 },
    });
    return [
      ...rows('lvm', io, 0.97),
      ...rows('luks', luks, 0.98),
      against('lvm/create', few.create, few.bareCreate),
      against('lvm/snapshot', few.snapshot, few.bareSnapshot),
      against(`lvm/create at ${volumes}`, many.create, many.bareCreate),
      against(`lvm/snapshot at ${volumes}`, many.snapshot, many.bareSnapshot),
    ];
  },
};
