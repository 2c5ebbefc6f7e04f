/**
 * Real Kubernetes on machines with kernels of their own: two device classes of engine lvm, one of them in a volume group
 * that was there before, encryption with keys from Secrets, bursts and power cuts. A quarter of an hour on a busy machine: by hand.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemNamespace } from '../../lab/kubernetes/install.ts';
import { describeEncryption } from './machines/encryption.ts';
import { describePostgres } from './machines/postgres.ts';
import { describeRoom } from './machines/room.ts';
import { MachineStage, machines, minute, missing } from './machines/stage.ts';

describe.skipIf(missing)(`Kubernetes on machines${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const stage = new MachineStage();
  beforeAll(() => stage.start(), 12 * minute);
  afterAll(() => stage.end(), 2 * minute);

  it('has machines with kernels of their own as nodes, with our chart on them', async () => {
    const kernel = async (name: string) =>
      (await stage.lab.kubectl(['get', 'node', name, '-o', 'jsonpath={.status.nodeInfo.kernelVersion}'])).trim();
    const [host, one, two] = await Promise.all(['node1', ...machines].map(kernel));
    expect(one).toBe(two);
    expect(one).not.toBe(host);
    const agents = await stage.lab.kubectl(
      ['-n', systemNamespace, 'get', 'pods', '-l', 'app.kubernetes.io/component=agent'].concat(
        ...['-o', 'jsonpath={range .items[*]}{.spec.nodeName} {.status.phase}{"\\n"}{end}'],
      ),
    );
    expect(agents.trim().split('\n').sort()).toEqual(['node1 Running', 'node2 Running', 'node3 Running']);
  });

  describeRoom(stage);
  describeEncryption(stage);
  describePostgres(stage);
});
