import { describe, expect, it } from 'vitest';
import { flagsToKeep, splitMountOptions } from './mount-options.ts';

describe('splitMountOptions', () => {
  it('gives the kernel flags as bits and leaves the rest to the file system', () => {
    const options = ['ro', 'nosuid', 'noatime', 'defaults', 'nouuid', 'logbsize=256k'];
    expect(splitMountOptions(options)).toEqual({ flags: 1 | 2 | 1024, data: 'nouuid,logbsize=256k' });
    expect(splitMountOptions(['constructor'])).toEqual({ flags: 0, data: 'constructor' });
    expect(splitMountOptions([])).toEqual({ flags: 0, data: '' });
  });
});

describe('flagsToKeep', () => {
  it('translates what statfs says into what mount understands', () => {
    expect(flagsToKeep(1 | 2 | 4096)).toBe(2 | (1 << 21));
    expect(flagsToKeep(8192)).toBe(256);
  });
});
