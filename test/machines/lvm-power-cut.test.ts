import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, type Machine, startMachines } from '../../lab/machines/index.ts';
import { seededRandom } from '../../lab/random.ts';
import { bundle } from './bundle.ts';
import { scenes } from './inside/parts/power-scenes.ts';

/*
 * A power cut between any two steps of any operation of the engine lvm: the machine boots, the operation is done again, and
 * all is as if nothing had happened. Here some points of each operation, other ones each time; with AZEKURA_LONG=1 all.
 */
const worker = path.resolve(import.meta.dirname, '../../dist/kernel-worker.mjs');
const long = process.env.AZEKURA_LONG === '1';
const seed = Number(process.env.AZEKURA_SEED ?? Date.now() % 2 ** 31);
const cuts = 8;
let lab: Lab;
let machine: Machine;

beforeAll(async () => {
  ensureBuilt();
  lab = await startMachines({ memory: '512M', disks: ['20G', '20G'] });
  machine = lab.machine(1);
  await bundle('power-steps.ts', lab.shared);
});
afterAll(() => lab.down());

/** Runs the program; resolves with what it said when it says CUT or ends. */
async function play(before: string, next: string): Promise<readonly string[]> {
  const started = machine.start(['node', '/shared/power-steps.mjs', worker, '/dev/ubda,/dev/ubdb', before, next]);
  let complaint = '';
  started.stderr.on('data', (data: Buffer) => (complaint += data.toString()));
  const said: string[] = [];
  for await (const line of createInterface(started.stdout)) {
    said.push(line);
    if (line === 'CUT') return said;
  }
  if (complaint) throw new Error(`seed ${seed}: after ${before}, with ${next}: ${complaint.slice(-3_000)}`);
  return said;
}

describe('a power cut between two steps', () => {
  it('does no harm and leaves nothing', { timeout: 3_600_000 }, async () => {
    const points: string[] = [];
    const rehearsed = await play('-', Object.keys(scenes).join(':999,').concat(':999'));
    expect(rehearsed).toHaveLength(Object.keys(scenes).length);
    for (const line of rehearsed) {
      const [, name = '', count = '0'] = line.split(' ');
      expect(Number(count), name).toBeGreaterThan(0);
      points.push(...Array.from({ length: Number(count) }, (_, point) => `${name}:${point}`));
    }
    const random = seededRandom(seed);
    const rest = [...points];
    const chosen = long
      ? points
      : Array.from({ length: cuts }, () => rest.splice(random.below(rest.length), 1)[0] ?? '');
    let before = '-';
    let cut = 0;
    for (const next of [...chosen, '-']) {
      const said = await play(before, next);
      if (next === '-') break;
      before = '-';
      // What an earlier run has left (a pool that is grown already) may spare a step: then the operation just ends.
      if (said[0]?.startsWith('DONE ')) continue;
      expect(said, next).toEqual(['CUT']);
      cut += 1;
      await machine.powerCut();
      await machine.boot();
      before = next;
    }
    expect(cut).toBeGreaterThanOrEqual(chosen.length * 0.8);
    console.log(`${cut} of ${points.length} points, seed ${seed}`);
  });
});
