import { execFileSync } from 'node:child_process';
import { closeSync, copyFileSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newUid } from '../../lib/id.ts';
import { AzekuraError } from '../../model/errors.ts';
import { probe, setUuid } from './index.ts';

const mebibyte = 2 ** 20;
const found = (tool: string): boolean => {
  try {
    execFileSync(tool, ['-V'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};
const tools = {
  xfs: found('mkfs.xfs') && found('xfs_repair') && found('xfs_db'),
  ext4: found('mkfs.ext4') && found('e2fsck'),
};

const folder = mkdtempSync(join(tmpdir(), 'azekura-superblock-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function withFile<T>(name: string, work: (fd: number) => T): T {
  const fd = openSync(join(folder, name), 'r+');
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

function make(name: string, sizeBytes: number, argv: readonly [string, ...string[]]): void {
  const fd = openSync(join(folder, name), 'w+');
  ftruncateSync(fd, sizeBytes);
  closeSync(fd);
  const [command, ...rest] = argv;
  execFileSync(command, [...rest, join(folder, name)], { stdio: 'pipe' });
}

function blkid(name: string): string {
  return execFileSync('blkid', ['-p', '-o', 'value', '-s', 'UUID', join(folder, name)], { encoding: 'utf8' }).trim();
}

describe('superblocks of nothing', () => {
  it('are none, however the bytes look', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), fc.constantFrom('XFSB', '', '\0\0'), (bytes, start) => {
        const fd = openSync(join(folder, 'noise'), 'w+');
        writeSync(fd, Buffer.concat([Buffer.from(start, 'latin1'), bytes]));
        expect(probe(fd)).toBeUndefined();
        closeSync(fd);
      }),
    );
  });
});

describe.skipIf(!tools.ext4)('ext4', () => {
  beforeAll(() =>
    make('ext4', 64 * mebibyte, ['mkfs.ext4', '-q', '-b', '4096', '-O', 'metadata_csum,metadata_csum_seed,64bit']),
  );

  it('is recognised', () => {
    expect(withFile('ext4', probe)).toEqual({
      filesystem: 'ext4',
      uuid: blkid('ext4'),
      clean: true,
      sizeBytes: 64 * mebibyte,
    });
  });

  it('gets another UUID that all tools accept', () => {
    copyFileSync(join(folder, 'ext4'), join(folder, 'changed'));
    const uuid = newUid();
    withFile('changed', (fd) => setUuid(fd, 'ext4', uuid));
    withFile('changed', (fd) => setUuid(fd, 'ext4', uuid));
    expect(blkid('changed')).toBe(uuid);
    execFileSync('e2fsck', ['-fn', join(folder, 'changed')], { stdio: 'pipe' });
  });

  it('is left alone without metadata_csum_seed, with a journal to replay, with a wrong checksum, or as another kind', () => {
    make('noseed', 64 * mebibyte, ['mkfs.ext4', '-q', '-b', '4096', '-O', 'metadata_csum,^metadata_csum_seed']);
    copyFileSync(join(folder, 'ext4'), join(folder, 'torn'));
    withFile('torn', (fd) => writeSync(fd, Buffer.from([1]), 0, 1, 1024 + 0x78));
    copyFileSync(join(folder, 'ext4'), join(folder, 'dirty'));
    execFileSync('debugfs', ['-w', '-R', 'feature needs_recovery', join(folder, 'dirty')], { stdio: 'pipe' });
    expect(withFile('dirty', probe)?.clean).toBe(false);
    for (const [name, kind, code] of [
      ['noseed', 'ext4', 'FailedPrecondition'],
      ['dirty', 'ext4', 'FailedPrecondition'],
      ['torn', 'ext4', 'DataLoss'],
      ['ext4', 'xfs', 'FailedPrecondition'],
    ] as const) {
      expect(refusal(name, kind)?.code).toBe(code);
    }
  });
});

describe.skipIf(!tools.xfs)('xfs', () => {
  beforeAll(() => make('xfs', 320 * mebibyte, ['mkfs.xfs', '-q', '-K', '-s', 'size=4096', '-m', 'reflink=1']));

  it('is recognised', () => {
    expect(withFile('xfs', probe)).toEqual({
      filesystem: 'xfs',
      uuid: blkid('xfs'),
      clean: true,
      sizeBytes: 320 * mebibyte,
    });
  });

  it('gets another UUID, and another, that all tools accept', () => {
    copyFileSync(join(folder, 'xfs'), join(folder, 'changed.xfs'));
    for (const uuid of [newUid(), newUid()]) {
      withFile('changed.xfs', (fd) => setUuid(fd, 'xfs', uuid));
      expect(blkid('changed.xfs')).toBe(uuid);
      execFileSync('xfs_repair', ['-n', join(folder, 'changed.xfs')], { stdio: 'pipe' });
      for (const group of [0, 1, 2, 3]) {
        const printed = execFileSync(
          'xfs_db',
          ['-r', '-c', `sb ${group}`, '-c', 'p uuid crc', join(folder, 'changed.xfs')],
          { encoding: 'utf8' },
        );
        expect(printed).toContain(`uuid = ${uuid}`);
        expect(printed).toContain('(correct)');
      }
    }
  });

  it('can be changed again after any interruption of a change', () => {
    copyFileSync(join(folder, 'xfs'), join(folder, 'half.xfs'));
    copyFileSync(join(folder, 'xfs'), join(folder, 'whole.xfs'));
    withFile('whole.xfs', (fd) => setUuid(fd, 'xfs', newUid()));
    // The log's record and the secondary superblocks are new, the primary one is old: it is written last.
    const start = Buffer.alloc(4096);
    withFile('half.xfs', (fd) => readSync(fd, start, 0, 4096, 0));
    withFile('whole.xfs', (fd) => writeSync(fd, start, 0, 4096, 0));
    const uuid = newUid();
    withFile('whole.xfs', (fd) => setUuid(fd, 'xfs', uuid));
    expect(blkid('whole.xfs')).toBe(uuid);
    execFileSync('xfs_repair', ['-n', join(folder, 'whole.xfs')], { stdio: 'pipe' });
  });

  it('is left alone when a superblock is damaged or the log is not clean', () => {
    copyFileSync(join(folder, 'xfs'), join(folder, 'torn.xfs'));
    withFile('torn.xfs', (fd) => writeSync(fd, Buffer.from([1]), 0, 1, 300));
    expect(refusal('torn.xfs', 'xfs')?.code).toBe('DataLoss');
    copyFileSync(join(folder, 'xfs'), join(folder, 'dirty.xfs'));
    const log = logOffset('dirty.xfs');
    // The flag of an unmount in the operation behind the log's first header.
    withFile('dirty.xfs', (fd) => writeSync(fd, Buffer.from([0]), 0, 1, log + 512 + 9));
    expect(withFile('dirty.xfs', probe)?.clean).toBe(false);
    expect(refusal('dirty.xfs', 'xfs')?.code).toBe('FailedPrecondition');
  });
});

function logOffset(name: string): number {
  const printed = execFileSync('xfs_db', ['-r', '-c', 'sb 0', '-c', 'p logstart', join(folder, name)], {
    encoding: 'utf8',
  });
  const start = Number(/logstart = (\d+)/.exec(printed)?.[1]);
  const converted = execFileSync('xfs_db', ['-r', '-c', `convert fsblock ${start} byte`, join(folder, name)], {
    encoding: 'utf8',
  });
  return Number(/\((\d+)\)/.exec(converted)?.[1]);
}

/** The error of a change that must not happen; the file must be as before. */
function refusal(name: string, filesystem: 'xfs' | 'ext4'): AzekuraError | undefined {
  const before = withFile(name, probe);
  try {
    withFile(name, (fd) => setUuid(fd, filesystem, newUid()));
    return undefined;
  } catch (error) {
    expect(withFile(name, probe)).toEqual(before);
    return error instanceof AzekuraError ? error : undefined;
  }
}
