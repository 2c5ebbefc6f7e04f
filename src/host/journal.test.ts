import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ext4HasJournal } from './journal.ts';

let sys: string;

beforeEach(async () => {
  sys = await mkdtemp(path.join(tmpdir(), 'azekura-sys-'));
  await mkdir(path.join(sys, 'dev/block'), { recursive: true });
  await mkdir(path.join(sys, 'fs/ext4/vda1'), { recursive: true });
  await symlink('../../devices/virtual/block/vda1', path.join(sys, 'dev/block/254:1'));
});
afterEach(() => rm(sys, { recursive: true }));

it.each([
  ['<none>\n', false],
  ['1234\n', true],
])('reads %j of the driver as %s', async (text, expected) => {
  await writeFile(path.join(sys, 'fs/ext4/vda1/journal_task'), text);
  expect(await ext4HasJournal('254:1', sys)).toBe(expected);
});

it('claims nothing when the driver does not tell', async () => {
  expect(await ext4HasJournal('254:1', sys)).toBeUndefined();
  expect(await ext4HasJournal('8:0', sys)).toBeUndefined();
});
