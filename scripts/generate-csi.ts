import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const root = path.dirname(import.meta.dirname);

/**
 * Generates the code of proto/ with buf and protoc-gen-es, both from node_modules; nothing is fetched.
 *
 * @returns contents by path below the repository's root
 */
export async function generateCsi(): Promise<Map<string, string>> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'azekura-generate-'));
  try {
    const bin = path.join(root, 'node_modules', '.bin');
    await promisify(execFile)(
      path.join(bin, 'buf'),
      ['generate', 'proto', '--template', 'proto/buf.gen.yaml', '--output', scratch],
      // buf looks for its plugin in PATH.
      {
        cwd: root,
        env: { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH ?? ''}` },
        timeout: 120_000,
      },
    );
    // Plain JavaScript with declarations: TypeScript output would have enums, which our tsconfig does not admit.
    const generated = new Map<string, string>();
    for (const file of ['csi_pb.js', 'csi_pb.d.ts', 'pluginregistration_pb.js', 'pluginregistration_pb.d.ts'])
      generated.set(`src/gen/csi/${file}`, await readFile(path.join(scratch, file), 'utf8'));
    return generated;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
