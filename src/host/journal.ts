import { readFile, readlink } from 'node:fs/promises';
import path from 'node:path';

/**
 * Whether a mounted ext3 or ext4 has a journal, as its driver says: /sys/fs/ext4/<disk>/journal_task names the journal's
 * process, or "<none>" (fs/ext4/sysfs.c). Needs no access to the device, which a container often lacks.
 *
 * @param deviceNumber major:minor, as in MountEntry.device
 * @param sys where sysfs is mounted
 * @returns undefined when the driver does not tell
 */
export async function ext4HasJournal(deviceNumber: string, sys = '/sys'): Promise<boolean | undefined> {
  try {
    const disk = path.basename(await readlink(path.join(sys, 'dev/block', deviceNumber)));
    const task = await readFile(path.join(sys, 'fs/ext4', disk, 'journal_task'), 'utf8');
    return task.trim() !== '<none>';
  } catch {
    return undefined;
  }
}
