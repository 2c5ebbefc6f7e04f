import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * How to start a helper process. In the build it is kernel-worker.mjs beside the bundle; from the sources it is
 * worker.ts, which newer Nodes run as it is and older ones with tsx.
 */
export function defaultWorkerArgv(): readonly [string, ...string[]] {
  const built = fileURLToPath(new URL('./kernel-worker.mjs', import.meta.url));
  if (existsSync(built)) return [process.execPath, ...v8Flags, built];
  const source = fileURLToPath(new URL('./worker.ts', import.meta.url));
  // Node with type stripping; the name is missing in the types of Node 20.
  const runsTypeScript = Boolean((process.features as { readonly typescript?: unknown }).typescript);
  if (runsTypeScript) return [process.execPath, ...v8Flags, '--no-warnings', source];
  return [process.execPath, ...v8Flags, '--import', import.meta.resolve('tsx'), source];
}

// A helper lives for seconds and holds nothing: a small young generation and no threads for a collector keep it light.
const v8Flags = ['--max-semi-space-size=1', '--v8-pool-size=0'] as const;
