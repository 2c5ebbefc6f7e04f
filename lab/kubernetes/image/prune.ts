import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

const keptArchives = 3;
/** A lab that starts just now may be about to read it. */
const restMs = 3_600_000;

/**
 * Removes archives of an image that newer ones have replaced: all but the three that were used last, and what was used in
 * the last hour.
 *
 * @param name of the image as in the archives' names: `NAME-<12 hex digits>.tar`, or with `.<pid>` behind when half made
 */
export function pruneArchives(folder: string, name: string, nowMs = Date.now()): void {
  const found = readdirSync(folder).flatMap((file) => {
    const hash = file.startsWith(`${name}-`) ? file.slice(name.length + 1) : '';
    const match = /^[0-9a-f]{12}\.tar(\.\d+)?$/.exec(hash);
    const usedMs = match ? statSync(join(folder, file), { throwIfNoEntry: false })?.mtimeMs : undefined;
    return usedMs === undefined ? [] : [{ file, usedMs, whole: match?.[1] === undefined }];
  });
  const whole = found.filter((each) => each.whole).sort((a, b) => b.usedMs - a.usedMs);
  const kept = new Set(whole.slice(0, keptArchives).map(({ file }) => file));
  for (const { file, usedMs } of found)
    if (!kept.has(file) && nowMs - usedMs > restMs) rmSync(join(folder, file), { force: true });
}
