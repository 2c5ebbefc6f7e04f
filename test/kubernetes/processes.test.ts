/** Controller and agent as processes, with the rights of their service accounts, on a real cluster of one node with the real sidecars. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, labMissing, startLab, until } from '../../lab/kubernetes/index.ts';
import type { Attachment, Kind } from '../../src/model/kinds.ts';
import { change } from '../../src/store/change.ts';
import type { Store } from '../../src/store/store.ts';
import { claimOfLegacy, type Legacy, runAlone } from './alone.ts';
import { chart, claim, claimed, driver, lines, node, pod, Roles, starts } from './roles.ts';

const missing = labMissing({ nodes: 1 });
const minute = 60_000;
/** How long the API server is away; AZEKURA_OUTAGE_SECONDS=600 for ten minutes (README). */
const outageMs = 1_000 * Number(process.env.AZEKURA_OUTAGE_SECONDS ?? 60);

describe.skipIf(missing)(`the roles of a cluster${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let lab: Lab;
  let roles: Roles;
  let store: Store;
  let legacy: Legacy;

  beforeAll(async () => {
    ensureBuilt();
    lab = await startLab({ nodes: 1 });
    roles = await Roles.of(lab);
    store = roles.store;
    await roles.install();
    const at = { dataDir: roles.dataDir(), pool: 'main', image: roles.poolImage(), volume: 'legacy' };
    legacy = await runAlone(lab, node, roles.command(), at);
    await roles.startController();
    await roles.startAgent();
    await roles.apply(
      { apiVersion: 'azekura.dev/v1', kind: 'Pool', metadata: { name: 'main' }, spec: roles.poolSpec() },
      { apiVersion: 'storage.k8s.io/v1', kind: 'CSIDriver', metadata: { name: driver }, spec: driverSpec },
      {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'StorageClass',
        metadata: { name: 'azekura' },
        provisioner: driver,
        volumeBindingMode: 'WaitForFirstConsumer',
        allowVolumeExpansion: true,
        parameters: { recycle: '0s' },
      },
    );
    await until('the pool', minute, async () => (await store.get('Pool', 'main')).status.phase === 'Ready');
    await until('the driver at the kubelet', minute, () => roles.isRegistered(), 500);
  }, 5 * minute);
  afterAll(async () => {
    await store?.close();
    await lab?.stop();
  }, 2 * minute);

  it(
    'take over what `azekura up` had on the node, in place',
    async () => {
      const inode = async (): Promise<string> => {
        const [name = ''] = await roles.volumesOnDisk();
        const { status } = await store.get('Pool', 'main');
        return lab.member(node).exec(['stat', '-c', '%i', path.join(status.path ?? '', 'volumes', name, 'data')]);
      };
      // Its status is that of before until the agent has looked.
      await until('the pool is open', minute, async () => (await roles.volumesOnDisk()).length === 1);
      const file = await inode();
      await lab.member('cp').exec(roles.command('--data-dir', roles.runDir(), 'pool', 'adopt', 'main', '--all'));
      await until('the volume', minute, async () => (await store.find('Volume', 'legacy'))?.status.phase === 'Ready');
      expect((await store.get('Volume', 'legacy')).status.volumeId).toBe(legacy.volumeId);
      await roles.apply(...claimOfLegacy('legacy', legacy, driver, node), pod('legacy', claimed('legacy')));
      await roles.running('legacy');
      const log = await roles.logOf('legacy');
      await until('it is written', minute, () => lines(log) > 0);
      expect(readFileSync(path.join(path.dirname(log), 'file'), 'utf8')).toBe('kept\n');
      expect(await inode()).toBe(file);
      await change(store, 'Volume', 'legacy', ({ spec }) => ({ spec: { ...spec, recycleMs: 0 } }));
      await lab.kubectl(['patch', 'pv', 'legacy', '-p', '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}']);
      await roles.remove('legacy', 'legacy');
      await until('its end', 2 * minute, async () => (await roles.volumesOnDisk()).length === 0);
    },
    4 * minute,
  );

  it(
    'give a pod its volume, with the rights of their service accounts only',
    async () => {
      await roles.apply(claim('data'), pod('app', claimed('data')));
      await roles.running('app');
      await until('data', minute, async () => lines(await roles.logOf('app')) > 0);
      const [volume] = (await store.list('Volume')).items;
      expect(volume?.status).toMatchObject({ phase: 'Ready', attachedTo: [node] });
    },
    3 * minute,
  );

  it(
    `keep volumes in use through ${outageMs / 1_000} s without API server, a restart of the agent and of the container`,
    async () => {
      const cp = lab.member('cp');
      const file = await roles.logOf('app');
      await cp.stop('apiserver', { graceSeconds: 0 });
      const awayMs = performance.now();
      const atFirst = lines(file);
      await until('I/O', minute, () => lines(file) > atFirst);

      await lab.member(node).again('agent');
      await until('the agent', minute, async () => (await roles.agent('readyz')).includes('"ok"'));
      const restarted = lines(file);
      await until('I/O beside the new agent', minute, () => lines(file) > restarted);

      await lab.member(node).exec(['pkill', '-9', '-f', 'while-app-runs']);
      await until('the container again', 2 * minute, () => starts(file) === 2);
      const again = lines(file);
      await until('I/O of the new container', minute, () => lines(file) > again);
      while (performance.now() - awayMs < outageMs) {
        const now = lines(file);
        await until('I/O all the time', minute, () => lines(file) > now);
        await new Promise((resolve) => setTimeout(resolve, 2_000));
      }
      if (outageMs > minute) {
        // Once more, when everything that has a time limit has reached it.
        await lab.member(node).exec(['pkill', '-9', '-f', 'while-app-runs']);
        await until('the container once more', 10 * minute, () => starts(file) === 3);
      }
      const atLast = lines(file);
      await until('I/O at the end', minute, () => lines(file) > atLast);
      expect(await roles.agent('metrics')).toContain('azekura_mirror_reachable 0');
      const awaySeconds = Math.round((performance.now() - awayMs) / 1_000);
      console.log(`${awaySeconds} s without API server: ${lines(file) - atFirst} lines were written`);

      await cp.again('apiserver');
      await until(
        'the API server',
        3 * minute,
        async () => (await lab.tryKubectl(['get', '--raw', '/readyz'])).code === 0,
      );
      // As those are whose leases have run out; their watches would wait for a minute more.
      for (const name of ['provisioner', 'attacher', 'scheduler', 'controller-manager']) await cp.again(name);
      await until('both sides say the same', 2 * minute, async () => {
        const metrics = await roles.agent('metrics');
        return metrics.includes('azekura_mirror_pending 0') && metrics.includes('azekura_mirror_reachable 1');
      });
      await until(
        'the node is ready',
        2 * minute,
        async () => (await store.get('Node', node)).status.phase === 'Ready',
      );
      const [attachment] = (await store.list('Attachment')).items;
      expect(attachment?.status.phase).toBe('Attached');
      await until('I/O afterwards', minute, () => lines(file) > atLast);
      // The pod is the one that it was: nobody has evicted it or its volume.
      expect(await roles.logOf('app')).toBe(file);
    },
    20 * minute + outageMs,
  );

  it(
    'come back into the registry of the kubelet when the socket was removed, and when the kubelet restarts',
    async () => {
      const socket = `/var/lib/kubelet/plugins_registry/${driver}-reg.sock`;
      await lab.member(node).exec(['rm', socket]);
      await until(
        'the socket again',
        minute,
        async () => (await lab.member(node).tryExec(['test', '-S', socket])).code === 0,
      );
      await until('the driver again', minute, () => roles.isRegistered(), 500);
      await lab.member(node).again('kubelet');
      await until('the driver after the restart', 2 * minute, () => roles.isRegistered(), 500);
      await roles.apply(claim('second'), pod('second', claimed('second')));
      await roles.running('second');
      await roles.remove('second', 'second');
    },
    6 * minute,
  );

  it(
    'keep what vanished from the API, say so, and join it with what is adopted',
    async () => {
      const [replica] = (await store.list('Replica')).items;
      if (!replica) throw new Error('there is no replica');
      const file = await roles.logOf('app');
      const { volumeId, volumeName } = replica.spec;
      const lost = [
        ['Replica', replica.metadata.name],
        ['Volume', volumeName],
      ] as const;
      for (const [kind, name] of lost) {
        await change(store, kind, name, () => ({ metadata: { finalizers: [] } }));
        await store.delete(kind, name);
      }
      await until('it is kept', minute, async () =>
        (await roles.agent('metrics')).includes('azekura_mirror_kept_objects 1'),
      );
      const before = lines(file);
      await until('I/O', minute, () => lines(file) > before);
      await lab.member('cp').exec(roles.command('--data-dir', roles.runDir(), 'pool', 'adopt', 'main', '--all'));
      await until('it is joined', minute, async () =>
        (await roles.agent('metrics')).includes('azekura_mirror_kept_objects 0'),
      );
      await until('the volume is back', minute, async () => {
        const { status } = await store.get('Volume', volumeName);
        return status.volumeId === volumeId && status.phase === 'Ready' && status.attachedTo.includes(node);
      });
      await change(store, 'Volume', volumeName, ({ spec }) => ({ spec: { ...spec, recycleMs: 0 } }));
      await until('I/O afterwards', minute, () => lines(file) > before);
    },
    4 * minute,
  );

  it(
    "make a volume of a pod's specification on the node alone, and end it with the pod",
    async () => {
      const before = (await store.list('Volume')).items.length;
      await roles.apply(pod('inline', { csi: { driver, volumeAttributes: { size: '320Mi' } } }));
      await roles.running('inline');
      const file = await roles.logOf('inline');
      await until('data', minute, () => lines(file) > 0);
      expect((await store.list('Volume')).items.length).toBe(before);
      expect((await store.list('Replica')).items.length).toBe(before);
      const onDisk = await roles.volumesOnDisk();
      expect(onDisk.length).toBe(before + 1);
      await lab.kubectl(['delete', 'pod', 'inline', '--timeout=120s']);
      await until('its end', minute, async () => (await roles.volumesOnDisk()).length === before);
      expect(await roles.agent('metrics')).toContain('azekura_mirror_kept_objects 0');
    },
    4 * minute,
  );

  it(
    'leave nothing of a volume that is deleted',
    async () => {
      await roles.remove('app', 'data');
      const kinds: Kind[] = ['Volume', 'Replica', 'Attachment', 'RecycledVolume'];
      for (const kind of kinds)
        await until(`no ${kind}`, 2 * minute, async () => (await store.list(kind)).items.length === 0);
      expect(await lab.kubectl(['get', 'pv', '-o', 'name'])).toBe('');
      await until(
        'no copies on the node',
        minute,
        async () => !(await roles.agent('metrics')).includes('azekura_volumes{'),
      );
      const pool = await store.get('Pool', 'main');
      expect(await roles.volumesOnDisk()).toEqual([]);
      const loops = await lab.member(node).exec(['losetup', '--noheadings', '--output', 'BACK-FILE']);
      expect(loops.split('\n').filter((one) => one.includes(`${pool.status.path}/`))).toEqual([]);
    },
    6 * minute,
  );

  it(
    'leave what a pod uses in place when all our definitions are deleted, say so, and have its data back afterwards',
    async () => {
      await roles.apply(claim('data'), pod('app', claimed('data')));
      await roles.running('app');
      const file = await roles.logOf('app');
      await until('data', minute, () => lines(file) > 0);
      const attachment = async (): Promise<Attachment | undefined> => (await store.list('Attachment')).items[0];
      const before = lines(file);
      const definitions = (await lab.kubectl(['get', 'crd', '-o', 'name']))
        .split('\n')
        .filter((name) => name.endsWith('.azekura.dev'));
      await lab.kubectl(['delete', '--wait=false', ...definitions]);
      await until('the deletion is told', minute, async () => {
        const told = await attachment();
        return (
          told?.metadata.deletionTimestamp !== undefined &&
          told.status.causes.some(({ code }) => code === 'DeletedInUse')
        );
      });
      await until('I/O', minute, () => lines(file) > before);
      // A container that starts anew gets what is mounted on the node.
      const started = starts(file);
      await lab.member(node).exec(['pkill', '-9', '-f', 'while-app-runs']);
      await until('the container again', 2 * minute, () => starts(file) === started + 1);
      const again = lines(file);
      await until('I/O of the new container', minute, () => lines(file) > again);
      expect(await roles.volumesOnDisk()).toHaveLength(1);
      expect((await attachment())?.status.phase).toBe('Attached');

      await lab.kubectl(['delete', 'pod', 'app', '--timeout=120s']);
      await until('our definitions are gone', 2 * minute, async () => {
        const left = await lab.kubectl(['get', 'crd', '-o', 'name']);
        return !left.includes('.azekura.dev');
      });
      await lab.kubectl(['apply', '--server-side', '-f', path.join(chart, 'files/crds')]);
      await lab.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
      await until(
        'the node is ready',
        3 * minute,
        async () => (await store.get('Node', node)).status.phase === 'Ready',
      );
      await roles.apply({
        apiVersion: 'azekura.dev/v1',
        kind: 'Pool',
        metadata: { name: 'main' },
        spec: roles.poolSpec(),
      });
      await until('the pool', 2 * minute, async () => (await store.get('Pool', 'main')).status.phase === 'Ready');
      await until('the data is adopted', 2 * minute, async () => {
        await lab.member('cp').exec(roles.command('--data-dir', roles.runDir(), 'pool', 'adopt', 'main', '--all'));
        const [volume] = (await store.list('Volume')).items;
        return volume?.status.phase === 'Ready';
      });
      await roles.apply(pod('app', claimed('data')));
      await roles.running('app');
      const after = await roles.logOf('app');
      await until('I/O on the same data', minute, () => starts(after) >= started + 2 && lines(after) > again);
    },
    12 * minute,
  );
});

const driverSpec = {
  attachRequired: true,
  podInfoOnMount: true,
  storageCapacity: true,
  volumeLifecycleModes: ['Persistent', 'Ephemeral'],
};
