import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { cachedBinary, cacheRoot, go, requiredVersion } from '../../../go.ts';

const moduleDir = import.meta.dirname;
const sources = path.join(moduleDir, 'labtool');

/**
 * Builds labtool, the labs' own small programs (`labtool` says which), once for each state of its sources and modules.
 *
 * @returns path of the binary
 * @throws ToolMissing without Go or without the modules
 */
export async function buildLabtool(): Promise<string> {
  return cachedBinary(folderName(), 'labtool', ({ out }) =>
    go(moduleDir, ['build', '-trimpath', '-ldflags=-s -w', '-o', `${out}/`, './labtool']),
  );
}

/** Where labtool is, or will be when it is built. */
export function labtoolPath(): string {
  return path.join(cacheRoot(), folderName(), 'labtool');
}

function folderName(): string {
  const goMod = readFileSync(path.join(moduleDir, 'go.mod'), 'utf8');
  const hash = createHash('sha256')
    .update(goMod)
    .update(readFileSync(path.join(moduleDir, 'go.sum')));
  for (const file of readdirSync(sources).sort())
    hash.update(`${file}\0`).update(readFileSync(path.join(sources, file)));
  const spec = requiredVersion(goMod, 'github.com/container-storage-interface/spec');
  return `labtool-csi-${spec}-${hash.digest('hex').slice(0, 12)}`;
}
