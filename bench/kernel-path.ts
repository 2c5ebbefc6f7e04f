import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Cleanup } from '../lab/workbench.ts';
import { run } from '../lab/workbench.ts';

const worker = fileURLToPath(new URL('kernel-path-worker.ts', import.meta.url));

/** Processes that do with the kernel alone what stage, publish, unpublish and unstage of a volume need of it. */
export interface KernelPath {
  /** @returns how often per second it was done, over all processes at once */
  rate(count: number): Promise<number>;
}

/**
 * Attach a loop device, mount, bind; unbind, unmount, detach, by bare system calls: nobody who uses real volumes can be
 * faster than this, so it tells which rate is attainable at all on this machine.
 *
 * @param directory where the volumes' files and mount points are made, on the file system of the pool
 */
export async function startKernelPath(
  cleanup: Cleanup,
  directory: string,
  options: { readonly concurrency: number; readonly volumeBytes: number },
): Promise<KernelPath> {
  mkdirSync(directory);
  const workers: { readonly child: ChildProcess; next(): Promise<string> }[] = [];
  for (let index = 0; index < options.concurrency; index++) {
    const folder = `${directory}/${index}`;
    mkdirSync(folder);
    run('truncate', '--size', String(options.volumeBytes), `${folder}/data.img`);
    run('mkfs.ext4', '-q', '-b', '4096', '-E', 'nodiscard,assume_storage_prezeroed=1', `${folder}/data.img`);
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), worker, folder], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    cleanup.add(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.stdin?.end();
      await exit;
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    workers.push({
      child,
      next: async () => {
        const { value, done } = await lines.next();
        if (done) throw new Error('a process of the kernel path has ended');
        return value;
      },
    });
  }
  for (const { next } of workers) await next();
  return {
    async rate(count) {
      const each = Math.ceil(count / workers.length);
      const startMs = performance.now();
      for (const { child } of workers) child.stdin?.write(`${each}\n`);
      for (const { next } of workers) await next();
      return (each * workers.length) / ((performance.now() - startMs) / 1_000);
    },
  };
}
