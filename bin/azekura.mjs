#!/usr/bin/env node
// The launcher: no dependencies, so that it can say what is missing when nothing is built or installed yet.
import { existsSync } from 'node:fs';

const bundle = new URL('../dist/cli.mjs', import.meta.url);

if (existsSync(bundle)) {
  await import(bundle.href);
} else {
  process.stderr.write(
    'Error: Azekura is not built yet.\nNext: run `npm ci && npm run build` in its folder, or `npm start`.\n',
  );
  process.exitCode = 10;
}
