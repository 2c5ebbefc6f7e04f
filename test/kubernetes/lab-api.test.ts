/** The lab without nodes: what the other tests rely on, and that it leaves nothing however it ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../../lab/kubernetes/cluster.ts';
import { type Lab, labMissing, startLab, until } from '../../lab/kubernetes/index.ts';
import { isRunning } from '../../lab/kubernetes/process-record.ts';

const missing = labMissing({ nodes: 0 });

describe.skipIf(missing)(`a lab without nodes${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const labs: Lab[] = [];
  afterEach(async () => {
    for (const lab of labs.splice(0)) await lab.stop();
  });

  async function start(): Promise<Lab> {
    const lab = await startLab({ nodes: 0 });
    labs.push(lab);
    return lab;
  }

  it('is a real API server, several side by side', async () => {
    const [first, second] = await Promise.all([start(), start()]);
    await first?.kubectl(['create', 'namespace', 'only-here']);
    expect(await first?.kubectl(['get', 'namespaces', '-o', 'name'])).toContain('namespace/only-here');
    expect(await second?.kubectl(['get', 'namespaces', '-o', 'name'])).not.toContain('only-here');
    const config = new KubeConfig();
    config.loadFromFile(first?.kubeconfig ?? '');
    expect(config.getCurrentCluster()?.server).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  });

  it('keeps its objects when its processes are killed and started again', async () => {
    const lab = await start();
    await lab.kubectl(['create', 'namespace', 'kept']);
    const cp = lab.member('cp');
    for (const name of ['apiserver', 'etcd']) {
      await cp.stop(name, { graceSeconds: 0 });
      expect(cp.runs(name)).toBe(false);
    }
    expect((await lab.tryKubectl(['get', 'namespace', 'kept', '--request-timeout=2s'])).code).not.toBe(0);
    await cp.again('etcd');
    await cp.again('apiserver');
    await until('the API server', 60_000, async () => (await lab.tryKubectl(['get', 'namespace', 'kept'])).code === 0);
  });

  it('leaves nothing when it is stopped', async () => {
    const lab = await start();
    const holder = lab.member('cp').holder ?? 0;
    expect(isRunning(holder)).toBe(true);
    await lab.stop();
    expect(isRunning(holder)).toBe(false);
    expect(existsSync(lab.folder)).toBe(false);
  });

  it('leaves nothing when the test that started it is killed', async () => {
    const name = `killed-${process.pid}`;
    const door = path.join(import.meta.dirname, '../../lab/kubernetes/index.ts');
    const script = `import { startLab } from ${JSON.stringify(door)};
      await startLab({ nodes: 0, name: ${JSON.stringify(name)} });
      console.log('up');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const lab = new Cluster(name);
    const holder = lab.member('cp').holder ?? 0;
    expect(readFileSync(`/proc/${holder}/comm`, 'utf8')).toBe('pause\n');
    child.kill('SIGKILL');
    await until('the end of the lab', 30_000, () => !existsSync(lab.folder) && !isRunning(holder));
  });
});
