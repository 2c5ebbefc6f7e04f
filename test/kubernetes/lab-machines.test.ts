/** The lab's nodes with kernels of their own: they join, lose their power, come back on their disks, and leave nothing. */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, labMissing, startLab, until } from '../../lab/kubernetes/index.ts';
import { machineLabel } from '../../lab/kubernetes/machine.ts';
import { LabFolder } from '../../lab/machines/folder.ts';
import { Space } from './kit.ts';

const shape = { nodes: 1, machines: { count: 1, memory: '700M', disks: ['1G'] } };
const missing = labMissing(shape);
const name = 'node2';

describe.skipIf(missing)(`machines as nodes${missing ? ` (skipped: ${missing})` : ''}`, { timeout: 480_000 }, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await startLab(shape);
  }, 600_000);
  afterAll(async () => {
    await lab?.stop();
  }, 120_000);

  it('are Ready, labelled, and have kernels and disks of their own', async () => {
    const path = 'jsonpath={range .items[*]}{.metadata.name} {.status.nodeInfo.kernelVersion}{"\\n"}{end}';
    const kernels = (await lab.kubectl(['get', 'nodes', '-o', path])).trim().split('\n');
    const [host, machine] = kernels.sort().map((line) => line.split(' ')[1]);
    expect(machine).not.toBe(host);
    expect(await lab.kubectl(['get', 'nodes', '-l', machineLabel, '-o', 'name'])).toBe(`node/${name}\n`);
    const disks = await lab.member(name).exec(['lsblk', '-dnbo', 'NAME,SIZE', '/dev/ubdb']);
    expect(disks.trim().split(/\s+/)).toEqual(['ubdb', String(2 ** 30)]);
    await lab.member(name).exec(['vgcreate', '-qq', 'vg', '/dev/ubdb']);
    expect(() => lab.machine('node1')).toThrow('node1 is no machine');
  });

  it('run pods that reach the API by its Service; a power cut leaves their disks', async () => {
    const space = await Space.create(lab, 'machine');
    await space.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'look' },
      spec: {
        nodeName: name,
        containers: [
          {
            name: 'c',
            image: 'localhost/busybox:1',
            imagePullPolicy: 'Never',
            command: [
              'sh',
              '-c',
              'until nc -w 5 $KUBERNETES_SERVICE_HOST 443 </dev/null; do sleep 1; done; echo here >>/v/f; sync /v/f; touch /tmp/done; exec sleep 100000',
            ],
            readinessProbe: { exec: { command: ['test', '-e', '/tmp/done'] }, periodSeconds: 1, timeoutSeconds: 10 },
            volumeMounts: [{ name: 'v', mountPath: '/v' }],
          },
        ],
        volumes: [{ name: 'v', hostPath: { path: '/data/test', type: 'DirectoryOrCreate' } }],
      },
    });
    await space.wait('condition=Ready', 'pod/look');
    await lab.killNode(name);
    expect(lab.member(name).holder).toBeUndefined();
    await lab.startNode(name);
    await until(
      'the pod again',
      180_000,
      async () => (await space.exec('pod/look', 'cat', '/v/f')) === 'here\nhere\n',
      1_000,
    );
    expect((await lab.member(name).exec(['vgs', '--noheadings', '-o', 'vg_name'])).trim()).toBe('vg');
  });

  it('are gone with the lab, and their disks', async () => {
    const { pid } = lab.machine(name).machine.process ?? {};
    const folder = new LabFolder(`kube-${lab.name}`).path;
    expect(pid !== undefined && existsSync(`/proc/${pid}`) && existsSync(folder)).toBe(true);
    await lab.stop();
    expect([existsSync(`/proc/${pid}`), existsSync(folder), existsSync(lab.folder)]).toEqual([false, false, false]);
  });
});
