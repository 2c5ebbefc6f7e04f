/** A namespace and a class of its own on the shared lab, for the tests of one file, which leave nothing. */
import { expect } from 'vitest';
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { until } from '../../lab/kubernetes/exec.ts';
import { Space, sharedLab, traces } from './kit.ts';
import { classWithoutBin } from './writers.ts';

const minute = 60_000;

interface Event {
  readonly reason: string;
  readonly message: string;
}

export class Scene {
  readonly cluster: Cluster;
  readonly space: Space;
  /** Of its volumes: they leave nothing when they are deleted. */
  readonly className: string;
  readonly #before: string;

  private constructor(space: Space, before: string) {
    this.cluster = space.cluster;
    this.space = space;
    this.className = space.name;
    this.#before = before;
  }

  static async open(name: string): Promise<Scene> {
    const cluster = await sharedLab();
    const before = await traces(cluster);
    const scene = new Scene(await Space.create(cluster, name), before);
    await scene.space.apply(classWithoutBin(name));
    return scene;
  }

  /** Deletes all of it, and waits until nothing more is left than there was before. */
  async leaveNothing(): Promise<void> {
    await this.cluster.kubectl(['delete', 'namespace', this.space.name, '--wait=true'], { timeoutMs: 3 * minute });
    await expect.poll(() => traces(this.cluster), { timeout: 150_000, interval: 1_000 }).toBe(this.#before);
  }

  /** Waits for an Event about an object that says something. */
  async told(kind: string, name: string, words: RegExp): Promise<void> {
    const about = `involvedObject.kind=${kind},involvedObject.name=${name}`;
    let last: readonly Event[] = [];
    await until(
      `${kind} ${name} is told ${words}`,
      3 * minute,
      async () => {
        last = (await this.space.get<{ items: readonly Event[] }>('events', '--field-selector', about)).items;
        return last.some(({ reason, message }) => words.test(`${reason} ${message}`));
      },
      1_000,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${last.map(({ reason, message }) => `${reason} ${message}`).join('\n')}`);
    });
  }

  /** The name of the volume of a claim. */
  volumeOf(claim: string): Promise<string> {
    return this.space.kubectl('get', `pvc/${claim}`, '-o', 'jsonpath={.spec.volumeName}');
  }

  /** What names the files and devices of the volume of a claim. */
  async handleOf(claim: string): Promise<string> {
    const handle = 'jsonpath={.spec.csi.volumeHandle}';
    return this.cluster.kubectl(['get', 'pv', await this.volumeOf(claim), '-o', handle]);
  }
}
