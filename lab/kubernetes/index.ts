/**
 * The door for tests: a real API server, or a whole cluster, for as long as the test runs.
 *
 *     const lab = await startLab({ nodes: 0 });          // etcd and kube-apiserver: 4 s, 0.3 GB
 *     const config = new KubeConfig(); config.loadFromFile(lab.kubeconfig);
 *     await lab.member('cp').stop('apiserver', { graceSeconds: 0 });   // kill -9
 *     await lab.member('cp').again('apiserver');
 *     await lab.stop();
 *
 * Labs are side by side; each has a name of its own. A lab ends with the process that started it, however that ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { binariesFor, notBuilt } from './binaries.ts';
import { Cluster, type LabShape } from './cluster.ts';
import { labSources, projectRoot } from './paths.ts';
import { whyNoLab } from './setup.ts';

export type { RunOptions, RunResult } from './exec.ts';
export { CommandFailed, until } from './exec.ts';
export { buildImage, type Image } from './image/build.ts';
export { imageArchive, sidecarImages } from './image/catalog.ts';
export type { Member } from './namespaces.ts';
export { whyNoLab } from './setup.ts';

export interface LabOptions extends LabShape {
  /** 1 to 24 of a-z, 0-9 and -; one is made up by default. */
  readonly name?: string;
  /** Gets what takes long; nothing by default. */
  readonly say?: (line: string) => void;
}

/**
 * For `describe.skipIf` and the name of the skipped test: why there can be no lab of this shape here, undefined when
 * there can. Tests do not build binaries; `npm test` and `npm run lab -- kubernetes build` do it.
 */
export function labMissing(shape: LabShape): string | undefined {
  const why = whyNoLab();
  if (why !== undefined) return why;
  if (shape.machines && !existsSync('/dev/net/tun')) return 'needs /dev/net/tun for machines';
  const missing = notBuilt(binariesFor(shape));
  return missing.length === 0 ? undefined : `not built: ${missing.join(' ')} (npm run lab -- kubernetes build)`;
}

/** A running lab. */
export class Lab extends Cluster {
  readonly #keeper: ChildProcess;

  constructor(name: string, keeper: ChildProcess) {
    super(name);
    this.#keeper = keeper;
  }

  /** Ends it and leaves nothing. */
  async stop(): Promise<void> {
    try {
      await this.down();
    } finally {
      // Its input stays open: it ends without doing anything.
      this.#keeper.kill('SIGKILL');
    }
  }
}

/** Starts a lab. @throws Error when it does not come up; nothing of it is left then */
export async function startLab(options: LabOptions): Promise<Lab> {
  const { name = `test-${randomBytes(4).toString('hex')}`, say = () => {}, ...shape } = options;
  const keeper = startKeeper(name);
  const lab = new Lab(name, keeper);
  try {
    await lab.up(shape, say);
    return lab;
  } catch (error) {
    await lab.stop();
    throw error;
  }
}

/** Takes the lab down when this process ends without having done so: then the keeper's input ends. */
export function startKeeper(name: string): ChildProcess {
  const down = [join(projectRoot, 'node_modules', '.bin', 'tsx'), join(labSources, 'main.ts'), 'down', '--name', name];
  const keeper = spawn('sh', ['-c', 'cat >/dev/null; exec "$@" >/dev/null 2>&1', 'keeper', ...down], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  keeper.unref();
  (keeper.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return keeper;
}
