/**
 * One cluster for all files of this project that use `sharedLab()` of kit.ts; the first of them starts it. It ends with
 * the run, however that ends.
 */
import { randomBytes } from 'node:crypto';
import type { TestProject } from 'vitest/node';
import { Cluster } from '../../lab/kubernetes/cluster.ts';
import { startKeeper } from '../../lab/kubernetes/index.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    sharedLabName: string;
  }
}

export default function setup(project: TestProject): () => Promise<void> {
  const name = `suite-${randomBytes(4).toString('hex')}`;
  project.provide('sharedLabName', name);
  const keeper = startKeeper(name);
  return async () => {
    await new Cluster(name).down();
    keeper.kill('SIGKILL');
  };
}
