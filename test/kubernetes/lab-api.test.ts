/** The lab without nodes: what the other tests rely on, and that it leaves nothing however it ends. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../../lab/kubernetes/cluster.ts';
import { run, tryRun } from '../../lab/kubernetes/exec.ts';
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

  it("does not hold on to what others had mounted when it started, nor to a test's loop devices", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'azekura-foreign '));
    const mountPoint = path.join(folder, 'mounted');
    mkdirSync(mountPoint);
    const attach = async (file: string): Promise<string> => {
      await run(['truncate', '-s', '320M', file]);
      await run(['mkfs.xfs', '-q', file]);
      return (await run(['losetup', '--find', '--show', file])).trim();
    };
    // By its file: the device itself may be somebody else's a moment later.
    const isAttached = async (file: string): Promise<boolean> =>
      (await run(['losetup', '-n', '-O', 'BACK-FILE'])).includes(file);
    try {
      const foreign = await attach(path.join(folder, 'disk'));
      await run(['mount', foreign, mountPoint]);
      const lab = await start();
      // Any mount that one of the lab's processes sees would hold the loop device until the lab ends. (That it goes at once is
      // no proof: another test's mount namespace may hold it, too, for a while.)
      const seen = readFileSync(`/proc/${lab.member('cp').holder}/mountinfo`, 'utf8');
      expect(seen).toContain(' / ');
      expect(seen).not.toContain(` ${foreign} `);
      await run(['umount', mountPoint]);
      await run(['losetup', '-d', foreign]);
      expect(await lab.member('cp').exec(['cat', import.meta.filename])).toContain(
        'hold on to what others had mounted',
      );

      const own = await attach(path.join(lab.folder, 'pool.img'));
      const inner = path.join(lab.folder, 'pool');
      mkdirSync(inner);
      await lab.member('cp').exec(['mount', own, inner]);
      await lab.member('cp').exec(['truncate', '-s', '64M', path.join(inner, 'data')]);
      await lab.member('cp').exec(['losetup', '--find', path.join(inner, 'data')]);
      expect(await isAttached(lab.folder)).toBe(true);
      await lab.stop();
      expect(await isAttached(lab.folder)).toBe(false);
    } finally {
      await tryRun(['umount', mountPoint]);
      for (const line of (await run(['losetup', '-n', '-O', 'NAME,BACK-FILE'])).split('\n'))
        if (line.includes(folder)) await tryRun(['losetup', '-d', line.split(' ')[0] ?? '']);
      rmSync(folder, { recursive: true });
    }
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
