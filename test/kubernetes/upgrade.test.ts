/**
 * Uninstall, install of the previous commit, upgrade to this one, agents of the previous one beside controllers of this
 * one: under volumes that are mounted and written. About three minutes.
 */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { run, tryRun, until } from '../../lab/kubernetes/exec.ts';
import { azekuraArchive, azekuraImage } from '../../lab/kubernetes/image/azekura.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { installChart, labValues, systemNamespace, uninstallChart } from '../../lab/kubernetes/install.ts';
import { projectRoot } from '../../lab/kubernetes/paths.ts';
import { Space, sharedLab, traces } from './kit.ts';
import { askFor, grow, remove, snapshot } from './probe.ts';
import { classWithoutBin, Writers } from './writers.ts';

const missing = labMissing({ nodes: 3 });
const className = 'upgrade';
const git = (...args: string[]): string[] => ['git', '-C', projectRoot, ...args];
const hasHistory = (await tryRun(git('rev-parse', '--verify', '--quiet', 'HEAD~1:deploy/chart'))).code === 0;
const previous = hasHistory ? 'the previous commit' : 'this commit, since a shallow clone has no other';

describe.skipIf(missing)(`a release${missing ? ` (skipped: ${missing})` : ''}`, { timeout: 300_000 }, () => {
  let cluster: Cluster;
  let space: Space;
  let writers: Writers;
  let before: string;
  let folder: string;
  let objects: string;

  beforeAll(async () => {
    folder = hasHistory ? mkdtempSync(path.join(tmpdir(), 'azekura-previous-')) : projectRoot;
    cluster = await sharedLab();
    before = await traces(cluster);
    if (hasHistory) {
      const archive = path.join(folder, 'checkout.tar');
      await run(git('archive', '--output', archive, 'HEAD~1'));
      await run(['tar', '-xf', archive, '-C', folder]);
      rmSync(archive);
      symlinkSync(path.join(projectRoot, 'node_modules'), path.join(folder, 'node_modules'));
      await run([process.execPath, path.join(folder, 'scripts/build.mjs')], { timeoutMs: 240_000 });
    }
    await cluster.loadImages([await azekuraArchive('previous', folder)]);
    space = await Space.create(cluster, 'upgrade');
    await space.apply(classWithoutBin(className));
    writers = await Writers.start(space, className);
  }, 600_000);
  afterAll(() => {
    if (folder && hasHistory) rmSync(folder, { recursive: true });
  });

  /** Names and uids of what describes the data. */
  const kept = (): Promise<string> =>
    cluster.kubectl([
      ...['get', 'pools.azekura.dev,volumes.azekura.dev,replicas.azekura.dev,attachments.azekura.dev'],
      ...['-o', 'jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{"\\n"}{end}'],
    ]);

  async function untouched(): Promise<void> {
    await writers.progress();
    expect(writers.errors()).toEqual([]);
    expect(await writers.restarts()).toBe(0);
  }

  async function probe(name: string): Promise<void> {
    await askFor(space, { name, className });
    await space.wait('condition=Ready', `pod/${name}`);
    await remove(space, name);
  }

  it('ends at once, keeps all objects and data, and leaves mounted volumes to their pods', async () => {
    objects = await kept();
    await uninstallChart(cluster);
    await until(
      'the end of our pods',
      60_000,
      async () => {
        const pods = await cluster.kubectl(['-n', systemNamespace, 'get', 'pods', '-o', 'name']);
        return pods.trim() === '';
      },
      1_000,
    );
    await untouched();
    expect(await kept()).toBe(objects);
    expect(await cluster.kubectl(['get', 'crd', '-o', 'name'])).toContain('volumes.azekura.dev');
  });

  it(`is taken up by an install of ${previous}`, async () => {
    await installChart(cluster, { chart: path.join(folder, 'deploy/chart'), values: labValues('previous') });
    await untouched();
    expect(await kept()).toBe(objects);
    await probe('previous');
  });

  it('is upgraded to this one without an error of reading or writing', async () => {
    await installChart(cluster, { values: labValues() });
    const images = '-o=jsonpath={.items[*].spec.containers[0].image}';
    const image = await cluster.kubectl(['-n', systemNamespace, 'get', 'pods', images]);
    expect(new Set(image.split(' '))).toEqual(new Set(['localhost/azekura:1']));
    await untouched();
    expect(await kept()).toBe(objects);
    await probe('upgraded');
  });

  it(`works with agents of ${previous}`, async () => {
    const agents = ['-n', systemNamespace, 'rollout', 'status', 'daemonset/azekura-agent', '--timeout=200s'];
    const useImage = async (tag: string): Promise<void> => {
      await cluster.kubectl([
        ...['-n', systemNamespace, 'set', 'image', 'daemonset/azekura-agent'],
        `agent=${azekuraImage.repository}:${tag}`,
      ]);
      await cluster.kubectl(agents, { timeoutMs: 240_000 });
    };
    await useImage('previous');
    await untouched();
    await askFor(space, { name: 'mixed', className });
    await space.wait('condition=Ready', 'pod/mixed');
    await grow(space, 'mixed');
    await snapshot(space, 'mixed');
    await remove(space, 'mixed');
    await useImage(azekuraImage.tag);
    await untouched();
    expect(await kept()).toBe(objects);
  });

  it('has lost nothing, and leaves nothing of what is deleted', async () => {
    expect(await writers.lost()).toEqual([]);
    await cluster.kubectl(['delete', 'namespace', space.name, '--wait=true'], { timeoutMs: 180_000 });
    await expect.poll(() => traces(cluster), { timeout: 150_000, interval: 1_000 }).toBe(before);
  });
});
