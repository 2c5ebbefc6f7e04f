import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { Space } from '../kit.ts';
import { databaseSecret, deployment, postgres, psql, service } from '../postgres.ts';
import { claimOf } from '../probe.ts';
import { type MachineStage, machines, minute, probeSeconds, sized, until } from './stage.ts';

/** PostgreSQL on an encrypted volume, and a client on another node that notes what has been acknowledged. */
export function describePostgres(stage: MachineStage): void {
  it(
    'keeps each transaction that PostgreSQL has acknowledged over a power cut of its machine, and the pod comes back',
    async () => {
      const space = await Space.create(stage.lab, 'postgres');
      const key = { key: randomBytes(36).toString('base64') };
      await space.apply(
        databaseSecret,
        { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'database-key' }, stringData: key },
        claimOf('database', 'sealed', sized('768Mi')),
        service('database', 5432),
        deployment(
          'database',
          { ...postgres, readinessProbe: { ...postgres.readinessProbe, periodSeconds: probeSeconds } },
          'database',
        ),
      );
      await until('the database', 6 * minute, async () => (await stage.readyPods(space)).length === 1).catch(
        stage.explained(space),
      );
      const [before] = await stage.pods(space);
      const node = before?.spec.nodeName ?? '';
      expect(machines).toContain(node);
      expect(await stage.lab.member(node).exec(['dmsetup', 'ls', '--target', 'crypt'])).toContain('azk-luks-');
      const sql = async (statement: string) =>
        (
          await space.execSoon('deploy/database', 'psql', '-qtA', '-h', '/tmp', '-U', 'postgres', '-c', statement)
        ).trim();
      await sql('create table acked (n bigint primary key, filler text)');

      const client = new Client(space);
      await client.start(1);
      await until('acknowledged transactions', 3 * minute, () => client.acknowledged() >= 200).catch(
        stage.explained(space),
      );
      await stage.lab.killNode(node);
      expect(stage.lab.member(node).holder).toBeUndefined();
      // From here on nobody can acknowledge anything.
      const promised = client.acknowledged();
      await client.end();
      await stage.lab.startNode(node);
      await until('the database again', 6 * minute, async () => (await sql('select count(*) from acked')) !== '').catch(
        stage.explained(space),
      );
      const after = (await stage.pods(space)).filter(({ status }) => status.phase === 'Running');
      expect(after.map(({ spec }) => spec.nodeName)).toEqual([node]);
      expect(await sql(`select count(*) from acked where n between 1 and ${promised}`)).toBe(String(promised));
      const check = ['pg_amcheck', '-h', '/tmp', '-U', 'postgres', '--all', '--install-missing'];
      expect(await space.exec('deploy/database', ...check, '--heapallindexed', '--parent-check')).toBe('');
      // Pages that were torn would fail their checksums.
      expect(await sql('select count(*), sum(length(filler)) from acked')).toMatch(/^\d+\|\d+$/);
      expect(await sql('select sum(checksum_failures) from pg_stat_database')).toBe('0');

      const last = Number(await sql('select max(n) from acked'));
      await client.start(last + 1);
      await until('new transactions', 3 * minute, () => client.acknowledged() > last + 20).catch(
        stage.explained(space),
      );
      console.log(`${promised} transactions were acknowledged before the power cut, ${last} are there`);
      await client.end();
      await stage.gone(space);
    },
    25 * minute,
  );
}

/** Inserts numbers, each in a transaction of its own, and notes each on the host's disk when its commit has returned. */
class Client {
  readonly #space: Space;
  readonly #folder: string;

  constructor(space: Space) {
    this.#space = space;
    this.#folder = path.join(space.cluster.folder, 'acks', space.name);
    mkdirSync(this.#folder, { recursive: true });
  }

  /** The last number that has been noted; it has noted all before. */
  acknowledged(): number {
    const file = path.join(this.#folder, 'acked');
    if (!existsSync(file)) return 0;
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return Number(lines.at(-1) ?? 0);
  }

  /** @param from the first number */
  async start(from: number): Promise<void> {
    const row = 'insert into acked values (%d, repeat(md5(random()::text), 8));\\n\\\\! echo %d >>/acks/acked\\n';
    // Ready a moment ago, the database may not be known to the Service yet.
    const script = `until ${psql} -c 'select 1'; do sleep 1; done; n=${from}; while :; do printf '${row}' $n $n || exit; n=$((n+1)); done | ${psql} -v ON_ERROR_STOP=1`;
    await this.#space.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'client' },
      spec: {
        // On the one node that is not a machine.
        nodeSelector: { 'kubernetes.io/hostname': 'node1' },
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 0,
        securityContext: { runAsUser: 0 },
        containers: [
          {
            name: 'client',
            image: postgres.image,
            imagePullPolicy: 'Never',
            env: postgres.env,
            command: ['sh', '-c', script],
            volumeMounts: [{ name: 'acks', mountPath: '/acks' }],
          },
        ],
        volumes: [{ name: 'acks', hostPath: { path: this.#folder } }],
      },
    });
  }

  async end(): Promise<void> {
    await this.#space.kubectl('delete', 'pod', 'client', '--wait=true', '--force');
  }
}
