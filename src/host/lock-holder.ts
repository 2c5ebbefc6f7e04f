import { readFileSync, statSync } from 'node:fs';

/**
 * Who holds a lock on a file, from /proc/locks: "name (pid 812)". A holder in another container is known by its lock
 * only.
 *
 * @returns undefined when nobody holds it
 */
export async function lockHolder(path: string, proc = '/proc'): Promise<string | undefined> {
  const inode = quietly(() => statSync(path).ino);
  const locks = quietly(() => readFileSync(`${proc}/locks`, 'utf8'));
  if (inode === undefined || locks === undefined) return undefined;
  for (const line of locks.split('\n')) {
    // 1: FLOCK  ADVISORY  WRITE 911 00:20:31 0 EOF; those that wait have "->" in front of FLOCK.
    const [, pid, found] = /^\d+: (?:FLOCK|POSIX|OFDLCK)\s+\S+\s+\S+\s+(-?\d+) \S+:(\d+) /.exec(line) ?? [];
    if (Number(found) !== inode) continue;
    const name = quietly(() => readFileSync(`${proc}/${pid}/comm`, 'utf8'))?.trim();
    return name === undefined ? 'a process of another container' : `${name} (pid ${pid})`;
  }
  return undefined;
}

function quietly<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
