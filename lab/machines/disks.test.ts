import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deviceOf, parseSize, planDisk } from './disks.ts';
import { LabError } from './error.ts';
import type { DiskRecord } from './folder.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'azekura-disks-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const place = (present: readonly DiskRecord[] = [], running = false) => ({ folder, machine: 1, present, running });

describe('parseSize', () => {
  it.each([
    ['4G', 4 * 2 ** 30],
    ['300m', 300 * 2 ** 20],
    ['1TiB', 2 ** 40],
    [2 ** 21, 2 ** 21],
  ])('reads %s', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  it.each(['', 'G', '-1G', '1.5G', '5', '1K', '1048577', '99999999T'])('refuses "%s"', (text) =>
    expect(() => parseSize(text)).toThrow(LabError),
  );
});

describe('planDisk', () => {
  it('takes the first free place of its kind and makes a sparse file', () => {
    const first = planDisk(place(), '1G');
    const second = planDisk(place([first]), { size: '1G', kind: 'controlled' });
    const third = planDisk(place([first, second]), { size: '1G', log: true });
    expect([first, second, third].map(deviceOf)).toEqual(['/dev/ubda', '/dev/nbd0', '/dev/nbd1']);
    expect(third.log).toBe(`${third.file}.log`);
    expect(statSync(first.file)).toMatchObject({ size: 2 ** 30, blocks: 0 });
    expect(deviceOf(planDisk(place([third]), '1G'))).toBe('/dev/ubda');
  });

  it('leaves the first plain place alone in a running kernel', () => {
    expect(deviceOf(planDisk(place([], true), '1G'))).toBe('/dev/ubdb');
    expect(deviceOf(planDisk(place([], true), { size: '1G', kind: 'controlled' }))).toBe('/dev/nbd0');
  });

  it('takes a file as it is', () => {
    const image = path.join(folder, 'image');
    writeFileSync(image, Buffer.alloc(8192, 7));
    expect(planDisk(place(), { image })).toMatchObject({ file: image, sizeBytes: 8192 });
    expect(statSync(image).size).toBe(8192);
  });

  it('refuses what cannot be, and makes no file then', () => {
    expect(() => planDisk(place(), { size: '1G', kind: 'plain', ignoreFlush: true })).toThrow('ignore flushes');
    expect(() => planDisk(place(), {})).toThrow('needs a size or an image');
    expect(() => planDisk(place(), { size: 'much' })).toThrow('no size');
    expect(existsSync(path.join(folder, 'n1d0'))).toBe(false);
    const full: DiskRecord[] = [];
    for (let count = 0; count < 8; count++) full.push(planDisk(place(full), '1M'));
    expect(() => planDisk(place(full), '1M')).toThrow('n1 has 8 plain disks already');
  });
});
