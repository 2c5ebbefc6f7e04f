import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBlockNodes } from './block-sysfs.ts';

let sys: string;

/** Attributes by their path below /sys/block. */
function write(attributes: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(attributes)) {
    const file = path.join(sys, 'block', name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, `${value}\n`);
  }
}

beforeAll(() => {
  sys = mkdtempSync(path.join(tmpdir(), 'azekura-sys-'));
  write({
    'sda/size': '8192',
    'sda/dev': '8:0',
    'sda/ro': '0',
    'sda/device/serial': 'S1',
    'sda/device/ioerr_cnt': '0x2',
    'sda/sda1/partition': '1',
    'sda/sda1/size': '4096',
    'sda/sda1/dev': '8:1',
    'nbd0/size': '0',
    'dm-0/size': '2048',
    'dm-0/dev': '253:0',
    'dm-0/dm/uuid': 'LVM-abc',
    'dm-0/dm/name': 'g-v',
    'dm-0/dm/suspended': '1',
    'dm-0/slaves/sda1/size': '4096',
  });
});
afterAll(() => rmSync(sys, { recursive: true }));

const names = (...parameters: Parameters<typeof readBlockNodes>) =>
  readBlockNodes(...parameters).map(({ name }) => name);

describe('block devices of sysfs', () => {
  it('are disks, partitions and mapped devices with what is told of each', () => {
    const [mapped, disk, partition] = readBlockNodes(sys);
    expect(mapped).toMatchObject({
      kind: 'mapped',
      sizeBytes: 2048 * 512,
      mapped: { name: 'g-v', uuid: 'LVM-abc', suspended: true },
      slaves: ['sda1'],
    });
    expect(disk).toMatchObject({ name: 'sda', kind: 'disk', serial: 'S1', ioErrors: 2, holders: ['sda1'] });
    expect(partition).toMatchObject({ name: 'sda1', kind: 'partition', deviceNumber: '8:1', ioErrors: 2 });
  });

  it('are left out when they have no size, and when they are not wanted', () => {
    expect(names(sys)).toEqual(['dm-0', 'sda', 'sda1']);
    expect(names(sys, { mappedOnly: true })).toEqual(['dm-0']);
    expect(names(sys, { mapped: (uuid) => !uuid.startsWith('LVM-') })).toEqual(['sda', 'sda1']);
    expect(names(sys, { names: new Set(['sda1', 'nbd0']) })).toEqual(['sda1']);
  });
});
