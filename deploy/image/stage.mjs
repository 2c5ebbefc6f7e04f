// Puts together what the image holds of ours: `node deploy/image/stage.mjs FOLDER`, after `npm ci && npm run build`. The
// Containerfile and the lab's image are both made from it. Native packages come as they are installed, with all that they
// depend on, for this architecture; everything else is in the bundle.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
/** What scripts/build.mjs leaves outside the bundle. */
const native = ['koffi', 'lmdb'];
/** Of packages: nothing of it is needed to run. */
const unneeded = /\/(doc|docs|vendor|test|tests)(\/|$)|\.(md|ts|map)$/;

/** Copies the project's programs into an empty folder. */
export function stage(folder) {
  if (!existsSync(path.join(root, 'dist', 'cli.mjs'))) throw new Error('run `npm run build` first');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of ['bin', 'dist', 'LICENSE']) copy(path.join(root, name), path.join(folder, name));
  const { name, version, type } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify({ name, version, type })}\n`);
  for (const each of closure(native)) {
    const from = path.join(root, 'node_modules', each);
    copy(from, path.join(folder, 'node_modules', each), (source) => !unneeded.test(source.slice(from.length)));
  }
  tryNative(folder);
}

/** What is missing shows here and not in the first pod. */
function tryNative(folder) {
  const script = native.map((name) => `await import('${name}')`).join('; ');
  execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd: folder, stdio: 'inherit' });
}

/** The packages with everything they depend on; of optional ones what is installed, so what this machine can run. */
function closure(names) {
  const found = new Set();
  const visit = (name) => {
    const file = path.join(root, 'node_modules', name, 'package.json');
    if (found.has(name) || !existsSync(file)) return;
    found.add(name);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(readFileSync(file, 'utf8'));
    for (const each of Object.keys({ ...dependencies, ...optionalDependencies })) visit(each);
  };
  for (const name of names) {
    if (!existsSync(path.join(root, 'node_modules', name))) throw new Error(`${name} is not installed: run \`npm ci\``);
    visit(name);
  }
  return [...found].sort();
}

function copy(from, to, filter = () => true) {
  cpSync(from, to, { recursive: true, preserveTimestamps: true, filter });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2];
  if (folder === undefined) throw new Error('usage: stage.mjs FOLDER');
  stage(path.resolve(folder));
}
