import path from 'node:path';
import { rolldown } from 'rolldown';

/** Makes one file of a program of inside/: from the sources it would take a machine a quarter of a minute to start it. */
export async function bundle(file: string, into: string): Promise<string> {
  const input = path.resolve(import.meta.dirname, 'inside', file);
  const made = await rolldown({ input, platform: 'node', external: ['koffi'], logLevel: 'silent' });
  const target = path.join(into, file.replace(/\.ts$/, '.mjs'));
  await made.write({ file: target, format: 'esm', codeSplitting: false });
  await made.close();
  return target;
}
