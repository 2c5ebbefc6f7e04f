// `npm run generate`: writes what is made from the schemas and kept in the repository. `--check` only compares.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import manifest from '../package.json' with { type: 'json' };
import { openApiDocument } from '../src/http/openapi.ts';
import { crdFiles } from './crds/crd.ts';
import { cliPage } from './generate-cli-docs.ts';
import { generateCsi } from './generate-csi.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const outputs = new Map([
  ['src/gen/openapi.json', `${JSON.stringify(openApiDocument(manifest.version), null, 2)}\n`],
  ['docs/cli.md', await cliPage(readFileSync(join(root, 'docs/cli.md'), 'utf8'))],
  ...(await generateCsi()),
  ...crdFiles(),
]);

const check = process.argv.includes('--check');
for (const [file, text] of outputs) {
  const path = join(root, file);
  const same = existsSync(path) && readFileSync(path, 'utf8') === text;
  if (same) continue;
  if (check) {
    console.error(`Error: ${file} is not what its sources make.\nNext: run \`npm run generate\` and commit it.`);
    process.exitCode = 1;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`wrote ${file}`);
  }
}
