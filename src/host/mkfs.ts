import { AzekuraError } from '../model/errors.ts';
import type { Host } from './host.ts';

/**
 * Options that do not vary with the size: 4096-byte sectors, so that a volume can move between engines; no discards,
 * since what is formatted holds nothing; a checksum seed of its own, so that the UUID can be changed in the superblock
 * alone.
 */
export const mkfsOptions = {
  xfs: ['-q', '-K', '-f', '-s', 'size=4096', '-m', 'crc=1,reflink=1'],
  ext4: [
    '-q',
    '-F',
    '-b',
    '4096',
    '-O',
    'metadata_csum,metadata_csum_seed,64bit',
    '-E',
    'nodiscard,assume_storage_prezeroed=1',
  ],
} as const;

/** For e2fsprogs before 1.47.0, which do not know that a file's holes are zeroes: the tables are written when mounted. */
export const ext4OptionsBefore147 = 'nodiscard,lazy_itable_init=1,lazy_journal_init=1';

/** For a device that reads as noise wherever it was not written: the kernel clears the tables when it is mounted. */
const ext4OptionsNoise = 'nodiscard,lazy_itable_init=1,lazy_journal_init=0';

/** Everything is written at once: for a device that may hold the remains of something else. */
const ext4OptionsNotZeroed = 'nodiscard,lazy_itable_init=0,lazy_journal_init=0';

const mkfsDeadlineMs = 10 * 60_000;

/**
 * Runs mkfs on a block device, over whatever is there.
 *
 * @param options.content whether every byte of the device is surely zero, noise, or something that others have left
 * @throws AzekuraError FailedPrecondition with blame ToolMissing; ResourceExhausted when the pool below is full
 */
export async function makeFilesystem(
  host: Pick<Host, 'exec'>,
  options: {
    readonly device: string;
    readonly filesystem: 'xfs' | 'ext4';
    readonly content: 'zero' | 'noise' | 'remains';
    readonly domain: string;
  },
): Promise<void> {
  const { device, filesystem, content, domain } = options;
  const words: string[] = [...mkfsOptions[filesystem]];
  if (filesystem === 'ext4' && content !== 'zero')
    words.splice(words.length - 1, 1, content === 'noise' ? ext4OptionsNoise : ext4OptionsNotZeroed);
  else if (filesystem === 'ext4' && !(await knowsPrezeroed(host)))
    words.splice(words.length - 1, 1, ext4OptionsBefore147);
  try {
    await host.exec([`mkfs.${filesystem}`, ...words, device], { deadlineMs: mkfsDeadlineMs, domain });
  } catch (error) {
    if (error instanceof AzekuraError && /no space left/i.test(error.message))
      throw new AzekuraError('ResourceExhausted', error.message, { cause: error });
    throw error;
  }
}

/** Whether mkfs.ext4 can be told that the device reads as zeroes (e2fsprogs 1.47.0). */
export async function knowsPrezeroed(host: Pick<Host, 'exec'>): Promise<boolean> {
  const { stdout, stderr } = await host.exec(['mkfs.ext4', '-V']);
  const version = /mke2fs (\d+)\.(\d+)/.exec(stdout + stderr);
  return version !== null && Number(version[1]) * 1000 + Number(version[2]) >= 1047;
}
