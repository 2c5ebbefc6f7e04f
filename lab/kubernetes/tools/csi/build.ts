import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { cachedBinary, go, requiredVersion } from '../../../go.ts';

const moduleDir = import.meta.dirname;
const sources = path.join(moduleDir, 'labtool');

/**
 * Builds labtool, the labs' own small programs (`labtool` says which), once for each state of its sources and modules.
 *
 * @returns path of the binary
 * @throws ToolMissing without Go or without the modules
 */
export async function buildLabtool(): Promise<string> {
  const goMod = await readFile(path.join(moduleDir, 'go.mod'), 'utf8');
  const hash = createHash('sha256')
    .update(goMod)
    .update(await readFile(path.join(moduleDir, 'go.sum')));
  for (const file of (await readdir(sources)).sort())
    hash.update(`${file}\0`).update(await readFile(path.join(sources, file)));
  const spec = requiredVersion(goMod, 'github.com/container-storage-interface/spec');
  return cachedBinary(`labtool-csi-${spec}-${hash.digest('hex').slice(0, 12)}`, 'labtool', ({ out }) =>
    go(moduleDir, ['build', '-trimpath', '-ldflags=-s -w', '-o', `${out}/`, './labtool']),
  );
}
