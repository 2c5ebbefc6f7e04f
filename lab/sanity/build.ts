import { createHash } from 'node:crypto';
import { chmod, cp, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cachedBinary, go, requiredVersion } from '../go.ts';

const moduleDir = import.meta.dirname;
const csiTest = 'github.com/kubernetes-csi/csi-test/v5';
const csiSpec = 'github.com/container-storage-interface/spec';

/**
 * An error of csi-sanity 5.6.0: this assertion compares two protobuf messages as Go structs, so that the size which Go's
 * protobuf remembers in a message that was sent once makes equal topologies unequal. No driver that says where its
 * snapshots are can pass it. The mended assertion compares what the messages say.
 */
const mendings: readonly { readonly file: string; readonly from: string; readonly to: string }[] = [
  {
    file: 'pkg/sanity/controller.go',
    from: 'Expect(topo).To(Equal(ni.GetAccessibleTopology()))',
    to: 'Expect(topo.GetSegments()).To(Equal(ni.GetAccessibleTopology().GetSegments()))',
  },
];

/** The spec that only the mended csi-sanity lets a driver with snapshot topology pass. */
export const mendedSpec = 'should succeed when creating a snapshot with accessibility requirements';

/**
 * Builds csi-sanity of the version in go.mod from the Go module proxy, once: later calls return the cached binary.
 * The cache lies outside the checkout, in a folder named by the version and the exact set of modules.
 *
 * @param mended with the assertion above mended; else exactly as published
 * @returns path of the binary
 * @throws ToolMissing without Go or without the modules
 */
export async function buildSanity(mended: boolean): Promise<string> {
  const hash = createHash('sha256').update(await readFile(path.join(moduleDir, 'go.sum')));
  if (mended) hash.update(JSON.stringify(mendings));
  const name = `csi-sanity-${await moduleVersion(csiTest)}-${mended ? 'mended-' : ''}${hash.digest('hex').slice(0, 12)}`;
  return cachedBinary(name, 'csi-sanity', async ({ out, scratch }) => {
    const modfile = mended ? [`-modfile=${await mendedModules(path.join(scratch, 'source'))}`] : [];
    await go(moduleDir, [
      'build',
      ...modfile,
      '-trimpath',
      '-ldflags=-s -w',
      '-o',
      `${out}/`,
      `${csiTest}/cmd/csi-sanity`,
    ]);
  });
}

/** A go.mod by which the module of csi-sanity is a mended copy of it. */
async function mendedModules(copy: string): Promise<string> {
  const original = (await go(moduleDir, ['list', '-m', '-f', '{{.Dir}}', csiTest])).trim();
  await cp(original, copy, { recursive: true });
  for (const { file, from, to } of mendings) {
    const target = path.join(copy, file);
    const text = await readFile(target, 'utf8');
    if (text.split(from).length !== 2)
      throw new Error(`${file} of csi-sanity is not as expected: look whether it is mended`);
    // Files in the module cache are read-only, and so are copies of them.
    await chmod(path.dirname(target), 0o755);
    await chmod(target, 0o644);
    await writeFile(target, text.replace(from, to));
  }
  const modfile = path.join(path.dirname(copy), 'go.mod');
  await writeFile(
    modfile,
    `${await readFile(path.join(moduleDir, 'go.mod'), 'utf8')}\nreplace ${csiTest} => ${copy}\n`,
  );
  await cp(path.join(moduleDir, 'go.sum'), path.join(path.dirname(copy), 'go.sum'));
  return modfile;
}

/**
 * The folder of the CSI specification's Go module, fetched when it is not in the cache.
 *
 * @param version such as "v1.9.0"; that in go.mod unless told
 * @throws ToolMissing without Go or without the module
 */
export async function specModule(version?: string): Promise<{ readonly version: string; readonly folder: string }> {
  const wanted = version ?? (await moduleVersion(csiSpec));
  const described = JSON.parse(await go(moduleDir, ['mod', 'download', '-json', `${csiSpec}@${wanted}`])) as {
    Version: string;
    Dir: string;
  };
  return { version: described.Version, folder: described.Dir };
}

/** The version of a module that go.mod requires. */
export async function moduleVersion(module: string): Promise<string> {
  return requiredVersion(await readFile(path.join(moduleDir, 'go.mod'), 'utf8'), module);
}
