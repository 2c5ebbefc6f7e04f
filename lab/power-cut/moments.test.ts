import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { seededRandom } from '../random.ts';
import { LogWriter } from '../write-log.ts';
import { chooseCuts } from './moments.ts';

it('chooseCuts() puts half of the cuts just before the flushes that cover most', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'azekura-moments-'));
  try {
    const log = path.join(folder, 'log');
    const writer = new LogWriter(log, 2 ** 20);
    for (let n = 0; n < 50; n++) {
      writer.append({ kind: 'write', offsetBytes: 0, data: Buffer.alloc(n === 25 ? 200_000 : 16) });
      writer.append({ kind: 'flush' });
    }
    const to = writer.position();
    writer.close();
    const cuts = chooseCuts(log, { from: 0, to }, 100, seededRandom(1));
    expect([...cuts].sort((a, b) => a - b)).toEqual(cuts);
    const counts = new Map<number, number>();
    for (const cut of cuts) counts.set(cut, (counts.get(cut) ?? 0) + 1);
    expect(Math.max(...counts.values())).toBeGreaterThan(40);
    for (const cut of cuts) expect(cut).toBeLessThanOrEqual(to);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
