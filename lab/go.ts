/** Go programs that tests and labs need: built once, cached outside the checkout. */
import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A tool that the test needs and this machine lacks; the test is skipped with this sentence as its reason. */
export class ToolMissing extends Error {}

/**
 * Runs the go command in a module's folder.
 *
 * @throws ToolMissing without Go or without the modules
 */
export async function go(moduleDir: string, args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run('go', [...args], {
      cwd: moduleDir,
      env: { ...process.env, CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOFLAGS: '-buildvcs=false' },
      maxBuffer: 16 << 20,
      timeout: 900_000,
    });
    return stdout;
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') throw new ToolMissing('Go is not installed');
    throw new ToolMissing(`go ${args[0]} failed: ${(stderr ?? String(error)).trim().split('\n').slice(-3).join(' ')}`);
  }
}

/**
 * A binary of the cache, built when it is not there.
 *
 * @param name of the folder in the cache: it says exactly from what the binary is built, so that nothing old is used
 * @param binary name of the file in it
 * @param build makes the file in the folder `out`; `scratch` is gone afterwards
 * @returns path of the binary
 */
export async function cachedBinary(
  name: string,
  binary: string,
  build: (folders: { readonly out: string; readonly scratch: string }) => Promise<unknown>,
): Promise<string> {
  const folder = path.join(cacheRoot(), name);
  const file = path.join(folder, binary);
  if (await exists(file)) return file;
  await mkdir(path.dirname(folder), { recursive: true });
  const scratch = await mkdtemp(`${folder}.new-`);
  try {
    const out = path.join(scratch, 'out');
    await build({ out, scratch });
    // Whoever renames first wins; the other's build is the same.
    await rename(out, folder).catch(async (error: unknown) => {
      if (!(await exists(file))) throw error;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return file;
}

/** The version that a go.mod requires of a module. */
export function requiredVersion(goMod: string, module: string): string {
  const version = goMod
    .split('\n')
    .map((line) => line.trim().replace(/^require /, ''))
    .find((line) => line.startsWith(`${module} v`))
    ?.split(' ')[1];
  if (!version) throw new Error(`go.mod names no version of ${module}`);
  return version;
}

/** Where everything that the labs build and run lies: outside the checkout, safe to delete. */
export function cacheRoot(): string {
  return process.env.AZEKURA_CACHE_DIR ?? path.join(homedir(), '.cache', 'azekura');
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
