import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, labMissing, startLab } from '../../lab/kubernetes/index.ts';
import { ControlFixture } from '../../src/control/fixture.ts';
import type { CallReport, KubeClient } from '../../src/kube/client.ts';
import { hasCode } from '../../src/model/errors.ts';
import { type Kind, kindNames } from '../../src/model/kinds.ts';
import { change, changeStatus } from '../../src/store/change.ts';
import { newVolume } from '../../src/store/contract-helpers.ts';
import { describeStoreContract } from '../../src/store/contract-suite.ts';
import { openKubernetesStore } from '../../src/store/kubernetes/kubernetes-store.ts';
import { resourceType } from '../../src/store/kubernetes/types.ts';
import type { Store } from '../../src/store/store.ts';
import { applyDefinitions, type Crd, connect, crdType, startTimeoutMs, wipe } from './api.ts';

// With kube-controller-manager: the contract's garbage collection is its work, not the API server's.
const shape = { nodes: 0, controllers: true };
const missing = labMissing(shape);

describe.skipIf(missing)(`the store on a real API server${missing ? ` (${missing})` : ''}`, () => {
  let lab: Lab;
  let client: KubeClient;
  let calls: CallReport[] = [];
  beforeAll(async () => {
    lab = await startLab(shape);
    client = await connect(lab.kubeconfig, { onCall: (report) => calls.push(report) });
    await applyDefinitions(client);
  }, startTimeoutMs);
  afterAll(async () => {
    client?.close();
    await lab?.stop();
  }, startTimeoutMs);

  describeStoreContract('Kubernetes', async () => {
    await wipe(client);
    const open = () => openKubernetesStore({ client });
    let store = open();
    return {
      get store() {
        return store;
      },
      async reopen() {
        await store.close();
        store = open();
        return store;
      },
      async dispose() {
        await store.close();
      },
    };
  });

  describe('what the API server itself sees to', () => {
    let store: Store;
    beforeAll(async () => {
      await wipe(client);
      store = openKubernetesStore({ client });
    });
    afterAll(() => store?.close());
    const refused = (work: Promise<unknown>, text: string) =>
      expect(work).rejects.toSatisfy((error) => hasCode(error, 'InvalidArgument') && error.message.includes(text));

    it('every definition is established, without a complaint about its names or its schema', async () => {
      const { items } = await client.list<Crd>(crdType);
      const ours = items.filter(({ metadata }) => metadata.name.endsWith('.azekura.dev'));
      expect(ours).toHaveLength(kindNames.length);
      for (const { metadata, status } of ours) {
        const conditions = new Map(status?.conditions?.map((one) => [one.type, one.status]));
        expect([metadata.name, Object.fromEntries(conditions)]).toEqual([
          metadata.name,
          { NamesAccepted: 'True', Established: 'True' },
        ]);
      }
    });

    it('fills in defaults for who writes without us, at all depths', async () => {
      const type = resourceType('Volume');
      const raw = {
        apiVersion: 'azekura.dev/v1',
        kind: 'Volume',
        metadata: { name: 'by-hand' },
        spec: { sizeBytes: 4096 },
      };
      await client.create(type, raw);
      expect(await client.get(type, 'by-hand')).toMatchObject({
        spec: { mode: 'filesystem', policy: { engine: 'file', replicas: 1, poolSelector: {} } },
      });
      expect((await store.get('Volume', 'by-hand')).status).toMatchObject({ phase: 'Pending', causes: [] });
      const byUs = await store.create(newVolume('by-us'));
      expect((await store.get('Volume', 'by-hand')).spec).toEqual(byUs.spec);
    });

    it('refuses nonsense by hand: wrong names, types, choices, unions', async () => {
      const make = (kind: Kind, name: string, spec: object) =>
        client.create(resourceType(kind), { apiVersion: 'azekura.dev/v1', kind, metadata: { name }, ...{ spec } });
      await refused(make('Volume', 'a.b', { sizeBytes: 1 }), 'metadata.name');
      await refused(make('Volume', 'v', { sizeBytes: 'ten' }), 'spec.sizeBytes');
      await refused(make('Volume', 'v', { sizeBytes: 2 ** 60 }), 'spec.sizeBytes');
      await refused(make('Volume', 'v', { sizeBytes: 1, mode: 'tape' }), 'spec.mode');
      await refused(make('Volume', 'v', {}), 'spec.sizeBytes');
      await refused(make('Volume', 'v', { sizeBytes: 1, source: { kind: 'tape', name: 'x' } }), 'spec.source.kind');
      const pool = (source: object) => make('Pool', 'p', { nodeName: 'n.example', source });
      await refused(pool({ kind: 'image', path: '/p' }), 'sizeBytes is required of kind image');
      await refused(pool({ kind: 'directory', path: '/p', sizeBytes: 1 }), 'does not belong to kind directory');
      await refused(pool({ kind: 'device', path: '/p' }), 'path of kind device must match');
      await pool({ kind: 'device', path: '/dev/sdx' });
      await client.delete(resourceType('Pool'), { name: 'p' });
    });

    it('lets nobody change which bytes an object stands for', async () => {
      const type = resourceType('Volume');
      await store.create(newVolume('fixed'));
      await changeStatus(store, 'Volume', 'fixed', () => ({ sizeBytes: 4096 }));
      const grow = (sizeBytes: number) => client.patch(type, { name: 'fixed' }, { spec: { sizeBytes } });
      await grow(1_000_000);
      await grow(8192);
      await refused(grow(4095), 'cannot shrink');
      await refused(client.patch(type, { name: 'fixed' }, { spec: { mode: 'block' } }), 'mode cannot change');
      const snapshot = { volumeName: 'fixed' };
      await store.create({ kind: 'Snapshot', metadata: { name: 's' }, spec: snapshot });
      await change(store, 'Snapshot', 's', ({ spec }) => ({ spec: { ...spec, snapshotId: 'one' } }));
      for (const snapshotId of ['two', null])
        await refused(
          client.patch(resourceType('Snapshot'), { name: 's' }, { spec: { snapshotId } }),
          'snapshotId cannot change',
        );
    });

    it('keeps fields of a newer version from those who do not know them', async () => {
      const definition = await client.get<Crd & { spec: { versions: { schema: { openAPIV3Schema: never } }[] } }>(
        crdType,
        'classes.azekura.dev',
      );
      const newer = structuredClone(definition) as unknown as {
        metadata: object;
        spec: { versions: { schema: { openAPIV3Schema: { properties: { spec: { properties: object } } } } }[] };
      };
      Object.assign(newer.spec.versions[0]?.schema.openAPIV3Schema.properties.spec.properties ?? {}, {
        colour: { type: 'string' },
      });
      await client.replace(crdType, newer as unknown as Crd);
      const type = resourceType('Class');
      const raw = { apiVersion: 'azekura.dev/v1', kind: 'Class', metadata: { name: 'newer' }, spec: { colour: 'red' } };
      await expect
        .poll(async () => {
          await client.delete(type, { name: 'newer' }).catch(() => {});
          return ((await client.create(type, raw)) as { spec?: { colour?: string } }).spec?.colour;
        })
        .toBe('red');
      const { spec } = await store.get('Class', 'newer');
      expect(Object.keys(spec)).not.toContain('colour');
      expect(spec.engine).toBe('file');
      await applyDefinitions(client);
    });

    it('shows people columns and short names', async () => {
      const table = await lab.kubectl(['get', 'azvol', 'fixed']);
      expect(
        table
          .split('\n')[0]
          ?.split(/\s{2,}/)
          .map((title) => title.trim())
          .filter(Boolean),
      ).toEqual(['NAME', 'PHASE', 'SIZE', 'CLASS', 'ATTACHED', 'POOL', 'CAUSE', 'AGE']);
      expect(await lab.kubectl(['get', 'azekura', '-o', 'name'])).toContain('snapshot.azekura.dev/s');
    });

    it('takes one call for a create, two for a change, none for a change of nothing', async () => {
      const counted = async (work: () => Promise<unknown>) => {
        calls = [];
        await work();
        return calls.map(({ verb }) => verb);
      };
      expect(await counted(() => store.create(newVolume('counted')))).toEqual(['create']);
      const resize = () => change(store, 'Volume', 'counted', ({ spec }) => ({ spec: { ...spec, sizeBytes: 8192 } }));
      expect(await counted(resize)).toEqual(['get', 'update']);
      expect(await counted(resize)).toEqual(['get']);
      const ready = () => changeStatus(store, 'Volume', 'counted', () => ({ phase: 'Ready' as const }));
      expect(await counted(ready)).toEqual(['get', 'update status']);
      expect(await counted(() => store.delete('Volume', 'counted'))).toEqual(['delete']);
    });
  });

  it('carries the controllers unchanged: provision, snapshot, attach, delete, undelete, purge', async () => {
    await wipe(client);
    const fixture = await ControlFixture.open({ store: openKubernetesStore({ client }) });
    try {
      const { store, operations } = fixture;
      expect((await store.list('Class')).items.length).toBeGreaterThan(0);
      await fixture.volume('db');
      await operations.createSnapshot({ name: 's', volumeName: 'db' });
      await fixture.until('Snapshot', 's', (one) => one?.status.readyToUse === true);
      const { volumeId } = (await store.get('Volume', 'db')).status;
      await operations.deleteVolume('db');
      await fixture.until('Volume', 'db', (one) => one === undefined);
      await operations.undeleteVolume('db', { as: 'again' });
      await fixture.ready('again');
      expect((await store.get('Volume', 'again')).status.volumeId).toBe(volumeId);
      await operations.deleteSnapshot('s');
      await fixture.until('Snapshot', 's', (one) => one === undefined);
      await operations.deleteVolume('again', { skipRecycleBin: true });
      await fixture.until('Volume', 'again', (one) => one === undefined);
      await expect.poll(async () => (await store.list('Replica')).items, { timeout: 30_000 }).toEqual([]);
    } finally {
      await fixture.close();
    }
  });
});
