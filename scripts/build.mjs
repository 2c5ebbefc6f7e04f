// Bundles src/ into dist/: the CLI with one lazily loaded chunk per group of verbs, the daemon, and the kernel helper.
// Native packages stay outside; everything else is inlined, which halves the daemon's memory and start time.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(root, 'dist');
const staging = join(root, `dist.${process.pid}.tmp`);

/**
 * Escapes what is not ASCII. V8 keeps the source of a module in memory, with two bytes for every character when a
 * single one is beyond Latin-1: one arrow in one message would cost the daemon 2.5 MiB.
 */
async function escapeSources(directory) {
  for (const name of await readdir(directory)) {
    const file = join(directory, name);
    const code = await readFile(file, 'utf8');
    const escaped = code.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
    if (escaped !== code) await writeFile(file, escaped);
  }
}

/** The id of a build is the hash of what was built: the same sources give the same id, with or without git. */
async function writeBuildInfo(directory) {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const hash = createHash('sha256');
  for (const name of (await readdir(directory)).sort()) {
    hash.update(`${name}\0`).update(await readFile(join(directory, name)));
  }
  const info = { version, build: hash.digest('hex').slice(0, 12) };
  await writeFile(join(directory, 'build-info.json'), `${JSON.stringify(info)}\n`);
  return info;
}

/**
 * commander loads node:child_process for subcommands that are separate executables, which we have none of. Loading it
 * costs more than all the rest of `azekura --version`.
 */
const commanderWithoutProcesses = {
  name: 'commander-without-processes',
  transform: {
    filter: { id: /commander[/\\]lib[/\\]command\.js$/ },
    handler: (code) => code.replace("require('node:child_process')", '{}'),
  },
};

/** What every command line loads goes into one file: each further module costs a millisecond of start. */
const startModules =
  /src[\\/](lib[\\/](duration|quantity|clock)|model[\\/]errors|cli[\\/](failure|options|groups|help))\.ts$/;

async function build() {
  const { rolldown } = await import('rolldown');
  const bundle = await rolldown({
    cwd: root,
    platform: 'node',
    input: { cli: 'src/bin/cli.ts', 'kernel-worker': 'src/host/kernel/worker.ts' },
    // The last two are fastify's own schema compilers, which src/http/server.ts replaces: they are never loaded.
    external: [/^koffi($|\/)/, /^lmdb($|\/)/, '@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler'],
    transform: { target: 'node20' },
    plugins: [commanderWithoutProcesses],
    // A warning about the code of a dependency helps nobody who builds; errors throw.
    logLevel: 'silent',
  });
  await bundle.write({
    dir: staging,
    format: 'esm',
    entryFileNames: '[name].mjs',
    chunkFileNames: 'chunk-[name]-[hash].mjs',
    codeSplitting: { groups: [{ name: 'base', test: startModules }] },
    // Names of functions stay readable in stack traces; only white space and comments go.
    minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
  });
  await bundle.close();
  await escapeSources(staging);
  return writeBuildInfo(staging);
}

if (!existsSync(join(root, 'node_modules', 'rolldown'))) {
  process.stderr.write('Error: the build tools are not installed.\nNext: run `npm ci` first.\n');
  process.exit(10);
}
const startedMs = performance.now();
try {
  const info = await build();
  // A running daemon may still load chunks of the old build: the swap leaves no moment without a complete dist/.
  await rm(`${out}.old`, { recursive: true, force: true });
  if (existsSync(out)) await rename(out, `${out}.old`);
  await rename(staging, out);
  await rm(`${out}.old`, { recursive: true, force: true });
  process.stdout.write(
    `built azekura ${info.version} (${info.build}) in ${Math.round(performance.now() - startedMs)} ms\n`,
  );
} finally {
  await rm(staging, { recursive: true, force: true });
}
