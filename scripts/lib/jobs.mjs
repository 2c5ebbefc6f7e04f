// The test files that need root, as jobs for lanes beside each other: the longest first, so that all lanes end together.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './environment.mjs';

/** What a file takes that is not in test/seconds.json. */
const usualSeconds = 20;
/** Shorter files go together, since each process costs seconds to start. */
const aloneSeconds = 60;

/** Seconds of a test file, by its path below test/, on two cores with others beside it. */
export const secondsOf = JSON.parse(readFileSync(path.join(root, 'test', 'seconds.json'), 'utf8'));

/**
 * System tests share the machine's loop devices and page cache, so they are one job. Each lab and each cluster has
 * kernels, disks and networks, or at least mounts, of its own: those disturb nobody. Files that use the run's shared
 * cluster are one job, so that it is started once.
 *
 * @returns {{ name: string, project: string, files?: string[], seconds: number }[]}
 */
export function testJobs() {
  const labs = filesOf('machines');
  const clusters = filesOf('kubernetes');
  const shared = clusters.filter(usesSharedLab);
  const jobs = [
    job('system', filesOf('.')),
    ...apart('lab', labs),
    job('kubernetes', shared, 'on a shared cluster'),
    ...apart(
      'kubernetes',
      clusters.filter((file) => !shared.includes(file)),
    ),
  ];
  return jobs.filter(({ files }) => files.length > 0).sort((one, other) => other.seconds - one.seconds);
}

/** Long files each for itself, the others together. */
function apart(project, files) {
  const long = files.filter((file) => seconds(file) >= aloneSeconds);
  const short = files.filter((file) => !long.includes(file));
  return [
    ...long.map((file) => job(project, [file], path.basename(file, '.test.ts'))),
    job(project, short, 'short files'),
  ];
}

function job(project, files, what) {
  const name = what === undefined ? project : `${project}, ${what}`;
  return { name, project, files, seconds: files.reduce((sum, file) => sum + seconds(file), 0) };
}

/** Whether the file itself, or a helper beside it that it imports, asks for the run's cluster. */
function usesSharedLab(file) {
  const text = readFileSync(path.join(root, file), 'utf8');
  if (text.includes('await sharedLab(')) return true;
  const helpers = [...text.matchAll(/from '\.\/([^']+)'/g)].map(([, name]) => path.join(path.dirname(file), name));
  return helpers.some(usesSharedLab);
}

function seconds(file) {
  return secondsOf[file.slice('test/'.length, -'.test.ts'.length)] ?? usualSeconds;
}

function filesOf(folder) {
  const names = readdirSync(path.join(root, 'test', folder)).filter((name) => name.endsWith('.test.ts'));
  return names.map((name) => path.join('test', folder, name));
}
