/** PostgreSQL from the distribution's packages, its data and its log on two volumes. */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { run, runAsync } from './workbench.ts';

const packages = '/usr/lib/postgresql';

/** Where the newest PostgreSQL's programs are; undefined when it is not installed. */
export function postgresBinaries(): string | undefined {
  const versions = existsSync(packages) ? readdirSync(packages).sort((a, b) => Number(b) - Number(a)) : [];
  return versions
    .map((version) => `${packages}/${version}/bin`)
    .find((path) => existsSync(`${path}/pgbench`) && existsSync(`${path}/pg_amcheck`));
}

export interface PostgresPlaces {
  readonly binaries: string;
  /** Mount points of the two volumes. */
  readonly data: string;
  readonly wal: string;
  /** A folder for the socket and the server's log. */
  readonly scratch: string;
  readonly port: number;
}

/** The three sums of pgbench that must agree, and the number of transactions in the history. */
export interface Sums {
  readonly accounts: number;
  readonly tellers: number;
  readonly branches: number;
  readonly history: number;
  readonly transactions: number;
}

export class Postgres {
  readonly places: PostgresPlaces;

  constructor(places: PostgresPlaces) {
    this.places = places;
    const { uid, gid } = postgresUser();
    for (const folder of [places.data, places.wal, places.scratch]) {
      mkdirSync(folder, { recursive: true });
      chownSync(folder, uid, gid);
      chmodSync(folder, 0o700);
    }
  }

  /** Makes an empty cluster with checksums. */
  initialise(): void {
    const { data, wal } = this.places;
    this.#as(
      'initdb',
      '--auth=trust',
      '--data-checksums',
      '--no-instructions',
      `--pgdata=${data}/cluster`,
      `--waldir=${wal}/log`,
    );
  }

  /** For a clone: its log is on its own volume, not where the original's is. */
  adopt(): void {
    const { data, wal } = this.places;
    rmSync(`${data}/cluster/pg_wal`);
    symlinkSync(`${wal}/log`, `${data}/cluster/pg_wal`);
    rmSync(`${data}/cluster/postmaster.pid`, { force: true });
  }

  start(): void {
    const { data, scratch, port } = this.places;
    const options = `-p ${port} -k ${scratch} -c listen_addresses='' -c max_wal_size=256MB -c shared_buffers=64MB`;
    this.#as(
      'pg_ctl',
      '--wait',
      '--timeout=90',
      `--pgdata=${data}/cluster`,
      `--log=${scratch}/server.log`,
      `--options=${options}`,
      'start',
    );
  }

  stop(): void {
    this.#as('pg_ctl', '--wait', '--mode=fast', `--pgdata=${this.places.data}/cluster`, 'stop');
  }

  /** Whether a server runs on this cluster. */
  running(): boolean {
    try {
      this.#as('pg_ctl', `--pgdata=${this.places.data}/cluster`, 'status');
      return true;
    } catch {
      return false;
    }
  }

  prepareBench(scale: number): void {
    this.#as('pgbench', ...this.#where(), '--initialize', '--quiet', `--scale=${scale}`, 'postgres');
  }

  /** Runs pgbench; resolves with its report. Each transaction is noted in files `<prefix>.*`. */
  bench(seconds: number, prefix: string): Promise<string> {
    const args = [
      ...this.#where(),
      '--client=4',
      '--jobs=1',
      `--time=${seconds}`,
      '--no-vacuum',
      '--log',
      `--log-prefix=${prefix}`,
      'postgres',
    ];
    return runAsync('runuser', '--user', 'postgres', '--', `${this.places.binaries}/pgbench`, ...args);
  }

  sums(): Sums {
    const query =
      'select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), ' +
      '(select sum(bbalance) from pgbench_branches), (select coalesce(sum(delta), 0) from pgbench_history), (select count(*) from pgbench_history)';
    const row = this.#as(
      'psql',
      ...this.#where(),
      '--no-psqlrc',
      '--tuples-only',
      '--no-align',
      '--field-separator=,',
      `--command=${query}`,
      'postgres',
    );
    const [
      accounts = Number.NaN,
      tellers = Number.NaN,
      branches = Number.NaN,
      history = Number.NaN,
      transactions = Number.NaN,
    ] = row.split(',').map(Number);
    return { accounts, tellers, branches, history, transactions };
  }

  /** Verifies every index against its table. @throws with what is wrong */
  amcheck(): void {
    this.#as('pg_amcheck', ...this.#where(), '--all', '--install-missing', '--heapallindexed', '--parent-check');
  }

  #where(): string[] {
    return [`--host=${this.places.scratch}`, `--port=${this.places.port}`];
  }

  #as(program: string, ...args: string[]): string {
    return run('runuser', '--user', 'postgres', '--', `${this.places.binaries}/${program}`, ...args);
  }
}

function postgresUser(): { readonly uid: number; readonly gid: number } {
  const fields = run('getent', 'passwd', 'postgres').split(':');
  return { uid: Number(fields[2]), gid: Number(fields[3]) };
}

/** The longest time between two commits of any client, from pgbench's log of transactions; milliseconds. */
export function longestGapMs(
  directory: string,
  prefix: string,
): { readonly gapMs: number; readonly transactions: number } {
  const times = readdirSync(directory)
    .filter((name) => name.startsWith(prefix))
    .flatMap((name) => readFileSync(`${directory}/${name}`, 'utf8').trim().split('\n'))
    .map((line) => {
      // client, transaction, time, script, epoch seconds, microseconds
      const fields = line.split(' ');
      return Number(fields[4]) * 1_000 + Number(fields[5]) / 1_000;
    })
    .sort((a, b) => a - b);
  let gapMs = 0;
  times.forEach((time, index) => {
    gapMs = Math.max(gapMs, time - (times[index - 1] ?? time));
  });
  return { gapMs, transactions: times.length };
}
