import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLsblk, parseWipefs } from './block-devices.ts';
import { parseCapabilities, parseFilesystems } from './facts.ts';
import { LoopReader } from './loops.ts';
import { MountinfoReader, parseMountinfo, parseMountinfoLine } from './mountinfo.ts';

const fixtures = new URL('fixtures/', import.meta.url);
const fixture = (name: string) => readFileSync(new URL(name, fixtures), 'utf8');

describe('mountinfo', () => {
  const entries = parseMountinfo(fixture('mountinfo.txt'));
  const at = (target: string) => entries.find((entry) => entry.target === target);

  it('reads what a kernel wrote: spaces in names, read-only binds, a bound device node', () => {
    expect(entries).toHaveLength(22);
    expect(at('/pools/fix/mnt a')).toEqual({
      mountId: 42,
      parentId: 30,
      device: '7:1',
      root: '/',
      target: '/pools/fix/mnt a',
      options: ['rw', 'noatime'],
      filesystem: 'xfs',
      source: '/dev/loop1',
      superOptions: ['rw', 'inode64', 'logbufs=8', 'logbsize=32k', 'noquota'],
    });
    expect(at('/pools/fix/ro')).toMatchObject({
      options: ['ro', 'noatime'],
      superOptions: expect.arrayContaining(['rw']),
    });
    expect(at('/pools/fix/blk')).toMatchObject({ root: '/loop1', filesystem: 'devtmpfs' });
  });

  it('reads optional fields, and nothing from what is no line of mountinfo', () => {
    const line = '36 35 98:0 /a\\134b /mnt\\011t rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue';
    expect(parseMountinfoLine(line)).toMatchObject({
      root: '/a\\b',
      target: '/mnt\tt',
      filesystem: 'ext3',
      source: '/dev/root',
    });
    fc.assert(fc.property(fc.string(), (text) => parseMountinfo(text).length === 0));
  });

  it('gives the same answer when it reads again what has changed', () => {
    const text = fixture('mountinfo.txt');
    const fewer = text.split('\n').slice(3).join('\n');
    const reader = new MountinfoReader();
    expect(reader.read(text)).toEqual(parseMountinfo(text));
    expect(reader.read(fewer)).toEqual(parseMountinfo(fewer));
    expect(reader.read(text)).toEqual(parseMountinfo(text));
  });
});

describe('loop devices in sysfs', () => {
  it('reads those in use, also one whose file was deleted', () => {
    const loops = new LoopReader(new URL('sys', fixtures).pathname, () => 0).read();
    const common = { readOnly: false, logicalBlockBytes: 4096 };
    expect(loops).toEqual([
      {
        ...common,
        device: '/dev/loop0',
        deviceNumber: '7:0',
        backingFile: '/pools/fix/a.img',
        backingDeleted: false,
        sizeBytes: 512 * 1024 ** 2,
        directIo: false,
      },
      {
        ...common,
        device: '/dev/loop1',
        deviceNumber: '7:1',
        backingFile: '/pools/fix/b c.img',
        backingDeleted: true,
        sizeBytes: 300 * 1024 ** 2,
        directIo: true,
      },
    ]);
  });

  it('looks again when the kernel has sent a uevent, and after some time', () => {
    const root = mkdtempSync(join(tmpdir(), 'azekura-sys-'));
    try {
      cpSync(new URL('sys', fixtures), root, { recursive: true });
      let nowMs = 0;
      const reader = new LoopReader(root, () => nowMs);
      const sizes = () => reader.read().map(({ sizeBytes }) => sizeBytes / 512);
      const setSize = (text: string) => writeFileSync(join(root, 'block/loop0/size'), text);
      expect(sizes()).toEqual([1_048_576, 614_400]);
      setSize('8\n');
      expect(sizes()).toEqual([1_048_576, 614_400]);
      writeFileSync(join(root, 'kernel/uevent_seqnum'), '1174\n');
      expect(sizes()).toEqual([8, 614_400]);
      setSize('16\n');
      nowMs += 60_000;
      expect(sizes()).toEqual([16, 614_400]);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

describe('block devices', () => {
  it('reads lsblk of a machine without udev', () => {
    const devices = parseLsblk(fixture('lsblk.json'));
    expect(devices.map(({ path, kind }) => [path, kind])).toEqual([
      ['/dev/loop0', 'other'],
      ['/dev/zram0', 'disk'],
      ['/dev/vda', 'disk'],
    ]);
    expect(devices[2]).toEqual({
      path: '/dev/vda',
      kind: 'disk',
      sizeBytes: 274_877_906_944,
      readOnly: false,
      rotational: true,
      mountedAt: ['/'],
      children: [],
    });
  });

  it('reads partitions, and a volume group over two disks once', () => {
    const lv = { path: '/dev/mapper/vg-lv', type: 'lvm', size: 3, ro: false, rota: false, serial: null, model: null };
    const empty = { fstype: null, pttype: null, mountpoints: [null] };
    const disk = (path: string) => ({
      ...lv,
      ...empty,
      path,
      type: 'disk',
      size: '9',
      ro: '1',
      serial: ' S1 ',
      pttype: 'gpt',
      children: [
        { ...lv, ...empty, path: `${path}1`, type: 'part', fstype: 'LVM2_member', children: [{ ...lv, ...empty }] },
      ],
    });
    const devices = parseLsblk(JSON.stringify({ blockdevices: [disk('/dev/sda'), disk('/dev/sdb')] }));
    expect(devices).toHaveLength(5);
    expect(devices[0]).toMatchObject({
      serial: 'S1',
      signature: 'gpt',
      readOnly: true,
      sizeBytes: 9,
      children: ['/dev/sda1'],
    });
    expect(devices[1]).toMatchObject({ kind: 'partition', signature: 'LVM2_member', children: ['/dev/mapper/vg-lv'] });
  });

  it('reads the signatures that wipefs finds', () => {
    expect(parseWipefs(fixture('wipefs-xfs.json'))).toBe('xfs');
    expect(parseWipefs(fixture('wipefs-dos.json'))).toBe('dos');
    expect(parseWipefs(fixture('wipefs-empty.json'))).toBeUndefined();
    expect(parseWipefs('')).toBeUndefined();
  });
});

describe('facts', () => {
  it('names capabilities by their bits', () => {
    const capabilities = parseCapabilities(fixture('proc-status.txt'));
    expect(capabilities).toContain('CAP_SYS_ADMIN');
    expect(capabilities).not.toContain('CAP_SYS_RESOURCE');
    expect(parseCapabilities('CapEff:\t0000000000000000\n')).toEqual([]);
  });

  it('knows file systems that are there and those that can be loaded', () => {
    const modules = 'kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz\nkernel/fs/nls/nls_utf8.ko:\n';
    const filesystems = parseFilesystems(fixture('proc-filesystems.txt'), modules);
    expect(filesystems).toEqual(expect.arrayContaining(['ext4', 'tmpfs', 'xfs', 'nls_utf8']));
    expect(parseFilesystems('nodev\tsysfs\n', modules)).toContain('xfs');
  });
});
