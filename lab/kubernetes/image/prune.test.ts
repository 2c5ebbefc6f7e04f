import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { pruneArchives } from './prune.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'azekura-prune-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const nowMs = Date.parse('2026-01-01T12:00:00Z');

function put(file: string, hoursAgo: number): void {
  writeFileSync(path.join(folder, file), '');
  const at = new Date(nowMs - hoursAgo * 3_600_000);
  utimesSync(path.join(folder, file), at, at);
}

it('removes all but the three archives that were used last, and what is in use or of another image', () => {
  const hash = (digit: number): string => `${digit}`.repeat(12);
  for (const hours of [1, 2, 3, 4, 5]) put(`localhost-azekura-1-${hash(hours)}.tar`, hours + 1);
  put(`localhost-azekura-1-${hash(6)}.tar.4711`, 9);
  put(`localhost-azekura-1-${hash(7)}.tar.4712`, 0.5);
  put(`localhost-azekura-previous-${hash(1)}.tar`, 9);
  put('localhost-azekura-1-notes.txt', 9);
  pruneArchives(folder, 'localhost-azekura-1', nowMs);
  expect(readdirSync(folder).sort()).toEqual([
    ...[1, 2, 3].map((hours) => `localhost-azekura-1-${hash(hours)}.tar`),
    `localhost-azekura-1-${hash(7)}.tar.4712`,
    'localhost-azekura-1-notes.txt',
    `localhost-azekura-previous-${hash(1)}.tar`,
  ]);
});

it('leaves the fourth one to a lab that starts just now', () => {
  for (const digit of [1, 2, 3, 4]) put(`a-${`${digit}`.repeat(12)}.tar`, digit / 10);
  pruneArchives(folder, 'a', nowMs);
  expect(readdirSync(folder)).toHaveLength(4);
});
