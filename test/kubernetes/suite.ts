/**
 * One cluster for all files of this project that use `sharedLab()` of kit.ts; the first of them starts it. It ends with
 * the run, however that ends. With AZEKURA_TEST_LAB=<name> it is the lab of that name, which stays as it is: for work on one
 * test, beside `npm run lab -- kubernetes up --name <name>`.
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

export default function setup(project: TestProject): (() => Promise<void>) | undefined {
  const given = process.env.AZEKURA_TEST_LAB;
  if (given !== undefined) {
    project.provide('sharedLabName', given);
    return undefined;
  }
  const name = `suite-${randomBytes(4).toString('hex')}`;
  project.provide('sharedLabName', name);
  const keeper = startKeeper(name);
  return async () => {
    await new Cluster(name).down();
    keeper.kill('SIGKILL');
  };
}
