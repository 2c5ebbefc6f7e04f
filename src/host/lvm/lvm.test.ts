import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lvchangeTags, lvcreateThin, lvcreateThinPool, mappedName, mappedUuid } from './argv.ts';
import { lvmConfig } from './config.ts';
import { classifyLvmFailure, type LvmFailure } from './errors.ts';
import { extentsOnDisks, freeExtents, parseGroup, usedExtents, usedRanges } from './group.ts';
import { readLabel } from './label.ts';
import { parseRaidStatus, parseThinPoolStatus } from './status.ts';
import { parseLvmText } from './text.ts';
import { pageOf, parseThinDelta, parseThinDump, parseThinUsage } from './thin-tools.ts';

/* Recorded from LVM 2.03.16 on kernel 7.2.7: a group of three disks with a volume of each kind. */
const recorded = (name: string) => readFileSync(new URL(`./recorded/${name}`, import.meta.url));
const groupText = recorded('group.txt').toString();
const front = gunzipSync(recorded('front-of-disk.gz'));

function onDisk<T>(bytes: Uint8Array, work: (fd: number) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'azekura-label-'));
  const file = join(folder, 'disk');
  writeFileSync(file, bytes);
  const fd = openSync(file, 'r');
  try {
    return work(fd);
  } finally {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
}

describe('the label of a physical volume', () => {
  it('tells the disk, its group and the whole text of the group', () => {
    const label = onDisk(front, (fd) => readLabel(fd, { text: true }));
    expect(label).toMatchObject({
      pvUuid: 'C5ryWf-CEmG-lI1B-cF3N-8q2c-k0NN-QBD62N',
      deviceBytes: 4 * 2 ** 30,
      group: { name: 'rec', id: 'zOJJB8-kVBX-Popg-yo55-to5d-5tVY-ZviWfH', seqno: 14 },
    });
    expect(label?.text).toBe(groupText);
    expect(onDisk(front, (fd) => readLabel(fd))?.text).toBeUndefined();
  });

  it('is not believed when a byte of it has changed; the text neither', () => {
    const damaged = (at: number) => {
      const bytes = Buffer.from(front);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return onDisk(bytes, (fd) => readLabel(fd, { text: true }));
    };
    expect(damaged(512 + 40)).toBeUndefined();
    expect(damaged(4096 + 30)).toMatchObject({ torn: true });
    const inText = front.indexOf('seqno = 14');
    expect(inText).toBeGreaterThan(0);
    expect(damaged(inText + 200)).toMatchObject({ torn: true });
  });

  it('is none on a blank, short or arbitrary disk', () => {
    expect(onDisk(Buffer.alloc(4096), (fd) => readLabel(fd))).toBeUndefined();
    expect(onDisk(Buffer.alloc(100), (fd) => readLabel(fd))).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 4096 }), (bytes) => {
        expect(onDisk(bytes, (fd) => readLabel(fd))).toBeUndefined();
      }),
      { numRuns: 30 },
    );
  });
});

describe('the text of a group', () => {
  const group = parseGroup(groupText);
  const volume = (name: string) => group.volumes.find((lv) => lv.name === name);

  it('gives the group and its disks', () => {
    expect(group).toMatchObject({ name: 'rec', seqno: 14, extentBytes: 4 * 2 ** 20, lockType: 'none', systemId: '' });
    expect(group.tags).toEqual(['azk.pool=11111111-2222-4333-8444-555555555555']);
    expect(group.physical.map(({ deviceHint, extents }) => [deviceHint, extents])).toEqual([
      ['/dev/ubdb', 1023],
      ['/dev/ubdc', 1023],
      ['/dev/ubdd', 1023],
    ]);
  });

  it('gives every kind of volume', () => {
    expect(volume('azk_v_one')).toMatchObject({
      sizeBytes: 64 * 2 ** 20,
      visible: true,
      segments: [{ type: 'thin', pool: 'azk_pool', deviceId: 1 }],
    });
    expect(volume('azk_s_two')?.segments[0]).toMatchObject({ origin: 'azk_v_one', deviceId: 2 });
    expect(volume('azk_pool')?.segments[0]).toMatchObject({
      type: 'thin-pool',
      data: 'azk_pool_tdata',
      metadata: 'azk_pool_tmeta',
      chunkBytes: 65536,
      zeroes: true,
    });
    expect(volume('mirrored')?.segments[0]?.areas).toHaveLength(4);
    expect(volume('wide')?.segments[0]?.areas).toHaveLength(3);
    expect(volume('plain.lv')?.sizeBytes).toBe(16 * 2 ** 20);
    expect(volume('azk_pool_tdata')?.visible).toBe(false);
  });

  it('counts free extents as LVM does', () => {
    // `lvcreate -L 100g` said: insufficient free space (2960 extents).
    expect(freeExtents(group)).toBe(2960);
    const wide = volume('wide')?.segments[0];
    expect(wide && extentsOnDisks(wide)).toBe(6);
  });

  it('tells where volumes lie on each disk, without overlap', () => {
    let used = 0;
    for (const { key, extents } of group.physical) {
      let end = 0;
      for (const range of usedRanges(group, key)) {
        expect(range.startExtent).toBeGreaterThanOrEqual(end);
        end = range.startExtent + range.extents;
      }
      expect(end).toBeLessThanOrEqual(extents);
      used += usedExtents(group, key);
    }
    const all = group.physical.reduce((sum, { extents }) => sum + extents, 0);
    expect(all - used).toBe(2960);
  });

  it('gives nothing of a disk that is cordoned', () => {
    const cordoned = { ...group, physical: group.physical.map((pv) => ({ ...pv, allocatable: false })) };
    expect(freeExtents(cordoned)).toBe(0);
  });

  it('is refused when it is cut off or is something else', () => {
    expect(() => parseGroup(groupText.slice(0, groupText.length / 2))).toThrow(SyntaxError);
    for (const text of ['', 'a = 1', '{', 'x { y = [1, 2', '}', 'a { b }', '"'])
      expect(() => parseGroup(text)).toThrow(SyntaxError);
    expect(parseLvmText('a = "x\\"y" # z\nb { c = [1, "d", -2.5] }')).toEqual({ a: 'x"y', b: { c: [1, 'd', -2.5] } });
  });
});

describe('what the kernel says', () => {
  it('of thin pools', () => {
    const line =
      'rec-azk_pool-tpool: 0 524288 thin-pool 2 112/1024 0/4096 - rw no_discard_passdown error_if_no_space - 256 ';
    expect(parseThinPoolStatus(line)).toEqual({
      state: 'ok',
      transactionId: 2,
      usedMetadataBlocks: 112,
      metadataBlocks: 1024,
      usedChunks: 0,
      chunks: 4096,
      held: false,
      mode: 'rw',
      errorWhenFull: true,
      needsCheck: false,
    });
    const held = '0 2097152 thin-pool 4 424/4096 143/16384 78 rw no_discard_passdown error_if_no_space - 1024 ';
    expect(parseThinPoolStatus(held)).toMatchObject({ held: true, usedChunks: 143 });
    const stopped = '0 524288 thin-pool 1 1024/1024 9/4096 - ro discard_passdown error_if_no_space needs_check 256';
    expect(parseThinPoolStatus(stopped)).toMatchObject({ mode: 'ro', needsCheck: true });
    expect(parseThinPoolStatus('0 524288 thin-pool Fail')).toEqual({ state: 'failed' });
    expect(() => parseThinPoolStatus('0 8192 linear ')).toThrow(SyntaxError);
  });

  it('of RAID', () => {
    expect(parseRaidStatus('0 65536 raid raid5_ls 3 AAA 32768/32768 idle 0 0 -')).toEqual({
      legs: 'AAA',
      syncedSectors: 32768,
      totalSectors: 32768,
      action: 'idle',
    });
    expect(parseRaidStatus('0 65536 raid raid1 2 AD 65536/65536 idle 0 0 -')?.legs).toBe('AD');
    expect(parseRaidStatus('0 8192 linear ')).toBeUndefined();
  });
});

describe('what the thin tools say', () => {
  const delta = `<superblock uuid="" time="2" transaction="4" data_block_size="128" nr_data_blocks="0">
  <diff left="3" right="4">
    <right_only begin="0" length="5"/>
    <same begin="5" length="1"/>
    <different begin="6" length="2"/>
    <left_only begin="8" length="1"/>
    <right_only begin="68" length="1"/>
  </diff>
</superblock>`;
  const dump = `<superblock uuid="" time="2" transaction="4" flags="0" version="2" data_block_size="128" nr_data_blocks="0">
  <device dev_id="1" mapped_blocks="139" transaction="0" creation_time="0" snap_time="2">
    <single_mapping origin_block="0" data_block="76" time="2"/>
    <range_mapping origin_begin="1" data_begin="69" length="3" time="1"/>
    <single_mapping origin_block="128" data_block="72" time="1"/>
  </device>
</superblock>`;

  it('are ranges in bytes', () => {
    const chunk = 65536;
    expect(parseThinDelta(delta)).toEqual([
      { offsetBytes: 0, lengthBytes: 5 * chunk },
      { offsetBytes: 6 * chunk, lengthBytes: 3 * chunk },
      { offsetBytes: 68 * chunk, lengthBytes: chunk },
    ]);
    expect(parseThinDump(dump)).toEqual([
      { offsetBytes: 0, lengthBytes: 4 * chunk },
      { offsetBytes: 128 * chunk, lengthBytes: chunk },
    ]);
    expect(() => parseThinDelta('nonsense')).toThrow(SyntaxError);
  });

  it('come in pages that cover everything once, whatever their size', () => {
    const ranges = parseThinDelta(delta);
    for (const limit of [1, 2, 5]) {
      const all = [];
      for (let from: number | undefined = 0; from !== undefined; ) {
        const page: ReturnType<typeof pageOf> = pageOf(ranges, { fromBytes: from, limit }, 2 ** 30);
        expect(page.ranges.length).toBeLessThanOrEqual(limit);
        all.push(...page.ranges);
        from = page.nextBytes;
      }
      expect(all).toEqual(ranges);
    }
    expect(pageOf(ranges, { fromBytes: 0, limit: 9 }, 65536).ranges).toEqual([{ offsetBytes: 0, lengthBytes: 65536 }]);
  });

  it('are what each volume holds', () => {
    const text = '1 9109504 4390912 4718592 \n3       0       0       0 \n4 4980736  262144 4718592 \n';
    expect(parseThinUsage(text).get(4)).toEqual({ exclusiveBytes: 262144, sharedBytes: 4718592 });
    expect(parseThinUsage(text).size).toBe(3);
  });
});

describe('failures', () => {
  const said: readonly (readonly [LvmFailure, string])[] = [
    [
      'locked',
      "  /run/lock/lvm/V_rec: flock failed: Resource temporarily unavailable\n  Can't get lock for rec.\n  Cannot process volume group rec",
    ],
    ['in-use', '  Logical volume rec/plain.lv contains a filesystem in use.'],
    ['in-use', '  Logical volume g/azk_v_yacxg7admcp91zkg in use.'],
    ['not-found', '  Failed to find logical volume "rec/nothere"'],
    ['exists', '  Logical Volume "plain.lv" already exists in volume group "rec"'],
    ['no-space', '  Volume group "rec" has insufficient free space (2960 extents): 25600 required.'],
    ['no-space', '  Insufficient free space: 100000 extents needed, but only 2960 available'],
    ['no-space', '  Cannot create new thin volume, free space in thin pool g/azk_pool reached threshold.'],
    ['too-few-disks', '  Insufficient suitable allocatable extents for logical volume big: 40 more required'],
    ['too-few-disks', '  Number of stripes (5) must not exceed number of physical volumes (3)'],
    ['disk-refused', '  Cannot use /dev/ubda: device is rejected by filter config'],
    ['kernel', 'device-mapper: reload ioctl on  (254:2) failed: Invalid argument'],
    ['other', '  Something that nobody has seen yet'],
  ];
  it.each(said)('%s: %s', (failure, stderr) => {
    expect(classifyLvmFailure(stderr)).toBe(failure);
  });

  it('are not told by warnings', () => {
    const differing =
      '  WARNING: Thin pool vg/pool has unexpected transaction id 4, expecting 5.\n' +
      '  Cannot create new thin volume, free space in thin pool vg/pool reached threshold.';
    expect(classifyLvmFailure(differing)).toBe('pool-damaged');
    expect(classifyLvmFailure('  WARNING: insufficient free space\n  Failed to find logical volume "a/b"')).toBe(
      'not-found',
    );
  });
});

describe('commands', () => {
  it('open no device but those of the group, and wait for nobody', () => {
    const config = lvmConfig({ devices: ['/dev/sda', '/dev/mapper/a+b'] });
    expect(config).toContain('filter=["a|^/dev/sda$|","a|^/dev/mapper/a\\\\+b$|","r|.*|"]');
    expect(config).toMatch(/wait_for_locks=0/);
    expect(config).toMatch(/udev_sync=0/);
    expect(config).toContain('locking_dir="/run/lock/lvm"');
  });

  it('make thin pools that zero what they give out', () => {
    const options = { extents: 10, metadataBytes: 2 ** 22, chunkBytes: 65536, tags: ['azekura'] };
    const argv = lvcreateThinPool('g', 'p', options).join(' ');
    expect(argv).toContain('--zero y');
    expect(argv).toContain('--addtag azekura');
  });

  it('make volumes that nothing but Azekura activates', () => {
    const argv = lvcreateThin('g', 'p', 'v', { sizeBytes: 2 ** 26, tags: [] }).join(' ');
    expect(argv).toContain('--setactivationskip y --activate n');
    expect(lvchangeTags('g', 'v', { add: ['a'], remove: ['b'] })).toEqual([
      'lvchange',
      '--deltag',
      'b',
      '--addtag',
      'a',
      'g/v',
    ]);
  });

  it('know the names that the kernel has', () => {
    expect(mappedName('azk-1', 'azk_v_a-b')).toBe('azk--1-azk_v_a--b');
    expect(mappedName('g', 'p', 'tpool')).toBe('g-p-tpool');
    expect(mappedUuid('SA6spT-M3pX', '5F8j1v-7iSK', 'tmeta')).toBe('LVM-SA6spTM3pX5F8j1v7iSK-tmeta');
  });
});
