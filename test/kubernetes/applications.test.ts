/** Applications as people run them, on the real chart, sidecars and kubelets. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { until } from '../../lab/kubernetes/exec.ts';
import { imageArchive } from '../../lab/kubernetes/image/catalog.ts';
import { postgresVersion } from '../../lab/kubernetes/image/postgres.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { Space, sharedLab, traces } from './kit.ts';
import { asPostgres, databaseSecret, deployment, postgres, psql, service } from './postgres.ts';

const missing =
  labMissing({ nodes: 3 }) ?? (postgresVersion() === undefined ? 'PostgreSQL is not installed' : undefined);

interface List<T> {
  items: T[];
}
interface Volume {
  metadata: { name: string };
  spec: { claimRef?: { namespace: string; name: string }; csi?: { volumeHandle: string }; storageClassName: string };
  status: { phase: string };
}
interface Claim {
  metadata: { name: string };
  spec: { volumeName?: string; storageClassName?: string };
  status: { phase: string; capacity?: { storage: string } };
}

const claim = (name: string, size: string): object => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name },
  spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: size } } },
});

// Times are for a machine that is busy with other tests too.
describe.skipIf(missing)(`applications${missing ? ` (skipped: ${missing})` : ''}`, { timeout: 480_000 }, () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await sharedLab();
    await cluster.loadImages([await imageArchive('postgres')]);
  }, 600_000);

  /** PVs of a namespace's claims. */
  async function volumesOf(space: Space): Promise<Volume[]> {
    const { items } = await space.get<List<Volume>>('persistentvolumes');
    return items.filter((volume) => volume.spec.claimRef?.namespace === space.name);
  }

  it('keeps a web application and its database over the loss of their pods, and leaves nothing when it is deleted', async () => {
    const space = await Space.create(cluster, 'blog');
    const before = await traces(cluster);
    await space.apply(
      databaseSecret,
      claim('database', '20Gi'),
      claim('web', '20Gi'),
      service('database', 5432),
      service('web', 8080),
      deployment('database', postgres, 'database'),
      deployment(
        'web',
        { ...postgres, readinessProbe: undefined, command: ['httpd', '-f', '-p', '8080', '-h', '/data'] },
        'web',
      ),
    );
    await space.wait('condition=Available', 'deployment/database', 'deployment/web');
    const claims = await space.get<List<Claim>>('pvc');
    expect(
      claims.items.map(({ spec, status }) => [spec.storageClassName, status.phase, status.capacity?.storage]),
    ).toEqual([
      ['azekura', 'Bound', '20Gi'],
      ['azekura', 'Bound', '20Gi'],
    ]);

    // The web server writes a row through the Service, with the password of the Secret, and a file of its own.
    const sql = async (statement: string): Promise<string> => {
      const line = `${psql} -c "$0"`;
      return (await space.execSoon('deploy/web', 'sh', '-c', line, statement)).trim();
    };
    await sql('create table posts (title text)');
    await sql("insert into posts select 'post ' || n from generate_series(1, 1000) n");
    await space.exec('deploy/web', 'sh', '-c', 'echo picture >/data/upload && sync /data/upload');

    await space.kubectl('delete', 'pods', '--all', '--wait=true');
    await space.wait('condition=Available', 'deployment/database', 'deployment/web');
    expect(await sql('select count(*), max(title) from posts')).toBe('1000|post 999');
    const web = (await space.get<{ spec: { clusterIP: string } }>('service', 'web')).spec.clusterIP;
    expect(await cluster.member('node1').exec(['curl', '-sf', '--retry', '5', `http://${web}:8080/upload`])).toBe(
      'picture\n',
    );

    expect(await volumesOf(space)).toHaveLength(2);
    await cluster.kubectl(['delete', 'namespace', space.name, '--wait=true'], { timeoutMs: 120_000 });
    await until('the end of the volumes', 120_000, async () => (await volumesOf(space)).length === 0, 500);
    // They rest in the recycle bin for the time of their class, until somebody empties it.
    const recycled = async (): Promise<string> =>
      (await cluster.kubectl(['get', 'recycledvolumes.azekura.dev', '-o', 'jsonpath={.items[*].status.phase}'])).trim();
    await until('the recycle bin', 60_000, async () => (await recycled()) === 'Recycled Recycled', 500);
    // With consent: without it their data would stay on the pools.
    await cluster.kubectl(['annotate', 'recycledvolumes.azekura.dev', '--all', 'azekura.dev/purge=true']);
    await cluster.kubectl(['delete', 'recycledvolumes.azekura.dev', '--all', '--wait=true'], { timeoutMs: 120_000 });
    await until(
      'the end of their files and loop devices',
      120_000,
      async () => {
        expect(await traces(cluster)).toBe(before);
        return true;
      },
      500,
    );
  });

  it('spreads a StatefulSet of databases with two volumes each over the nodes, and keeps them when it shrinks', async () => {
    const space = await Space.create(cluster, 'shards');
    const template = (name: string, storage: string): object => ({
      metadata: { name },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage } } },
    });
    await space.apply(databaseSecret, {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'pg' },
      spec: {
        serviceName: 'pg',
        replicas: 3,
        podManagementPolicy: 'Parallel',
        selector: { matchLabels: { app: 'pg' } },
        template: {
          metadata: { labels: { app: 'pg' } },
          spec: {
            ...asPostgres,
            topologySpreadConstraints: [
              {
                maxSkew: 1,
                topologyKey: 'kubernetes.io/hostname',
                whenUnsatisfiable: 'DoNotSchedule',
                labelSelector: { matchLabels: { app: 'pg' } },
              },
            ],
            containers: [
              {
                name: 'pg',
                ...postgres,
                env: [...postgres.env, { name: 'PGWAL', value: '/logs/wal' }],
                volumeMounts: [
                  { name: 'pgdata', mountPath: '/data' },
                  { name: 'logs', mountPath: '/logs' },
                ],
              },
            ],
          },
        },
        volumeClaimTemplates: [template('pgdata', '2Gi'), template('logs', '1Gi')],
      },
    });
    await space.wait('jsonpath={.status.readyReplicas}=3', 'statefulset/pg');
    const nodes = await space.kubectl('get', 'pods', '-l', 'app=pg', '-o', 'jsonpath={.items[*].spec.nodeName}');
    expect(nodes.split(' ').sort()).toEqual(['node1', 'node2', 'node3']);
    const sql = async (pod: number, statement: string): Promise<string> =>
      (await space.execSoon(`pod/pg-${pod}`, 'psql', '-qtA', '-h', '/tmp', '-U', 'postgres', '-c', statement)).trim();
    for (const pod of [0, 1, 2]) await sql(pod, `create table who as select ${pod} as shard`);

    await space.kubectl('scale', 'statefulset/pg', '--replicas=1');
    await space.wait('delete', 'pod/pg-1', 'pod/pg-2');
    const kept = await space.get<List<Claim>>('pvc');
    expect(kept.items.map((each) => each.status.phase)).toEqual(Array.from({ length: 6 }, () => 'Bound'));

    await space.kubectl('scale', 'statefulset/pg', '--replicas=3');
    await space.wait('jsonpath={.status.readyReplicas}=3', 'statefulset/pg');
    for (const pod of [0, 1, 2]) expect(await sql(pod, 'select shard from who')).toBe(String(pod));
    await cluster.kubectl(['delete', 'namespace', space.name, '--wait=true'], { timeoutMs: 120_000 });
    await until('the end of the volumes', 120_000, async () => (await volumesOf(space)).length === 0, 500);
  });
});
