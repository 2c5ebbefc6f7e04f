/** Writers for durability.ts, and what of their promises a machine still finds. */
import path from 'node:path';
import { type Ack, AckRecorder } from './durability.ts';
import type { Machine } from './machine.ts';
import type { MachineDisk } from './machine-disk.ts';

const acksProgram = path.join(import.meta.dirname, 'guest', 'acks.mjs');

export interface Survivors {
  readonly ok: number;
  readonly wrong: number;
  readonly missing: number;
}

/** Writes files into a folder of the machine, each acknowledged after its fsync. */
export function writeFiles(machine: Machine, folder: string, disks: readonly MachineDisk[], fileKib = 16): AckRecorder {
  return new AckRecorder(machine.start(['node', acksProgram, 'write', folder, String(fileKib)]), disks);
}

export async function verifyFiles(machine: Machine, folder: string, acks: readonly Ack[]): Promise<Survivors> {
  const input = acks.map(({ line }) => `${line}\n`).join('');
  const { stdout } = await machine.exec(['node', acksProgram, 'verify', folder], { input, deadlineMs: 120_000 });
  return JSON.parse(stdout) as Survivors;
}

/** A PostgreSQL server on a machine whose cluster lies in a folder of a mounted disk. */
export class MachinePostgres {
  readonly #machine: Machine;
  readonly #folder: string;

  constructor(machine: Machine, folder: string) {
    this.#machine = machine;
    this.#folder = folder;
  }

  /** Makes an empty cluster with checksums and a table for acknowledged numbers; the server runs afterwards. */
  async initialise(): Promise<void> {
    await this.#machine.sh(`mkdir -p ${this.#folder} && chown postgres: ${this.#folder} && chmod 700 ${this.#folder}`);
    await this.#as('initdb --auth=trust --data-checksums --no-instructions --no-sync', 240_000);
    await this.start();
    await this.query('create table acked (n bigint primary key)');
    // Only what is acknowledged later is to be doubted.
    await this.#machine.exec(['sync'], { deadlineMs: 240_000 });
  }

  /** Starts the server and waits until it has recovered. */
  async start(): Promise<void> {
    await this.#as(
      `pg_ctl --wait --timeout=180 --silent --log=/run/postgresql/log ` +
        `--options="-k /run/postgresql -c listen_addresses='' -c shared_buffers=16MB" start`,
      200_000,
    );
  }

  /** Stops the server and waits until its folder can be unmounted. */
  async stop(): Promise<void> {
    // pg_ctl waits for the file of the process to go, which the process itself outlives by a moment.
    await this.#as(
      'read -r pid <$PGDATA/postmaster.pid; pg_ctl --wait --silent --mode=fast stop; ' +
        'while kill -0 $pid 2>/dev/null; do sleep 0.05; done',
      120_000,
    );
  }

  async query(sql: string): Promise<string> {
    return this.#as(`psql -h /run/postgresql -qAt -v ON_ERROR_STOP=1 -c "${sql}" postgres`, 120_000);
  }

  /** Inserts 1, 2, 3 … each in a transaction of its own, acknowledged when its commit has returned. */
  insertNumbers(disks: readonly MachineDisk[]): AckRecorder {
    // psql writes into a pipe, where its lines would otherwise wait for each other.
    const script =
      `${binaries}; i=0; while :; do i=$((i+1)); printf 'insert into acked values (%d);\\n\\\\echo %d\\n' $i $i; done | ` +
      'stdbuf -oL psql -h /run/postgresql -qAt -v ON_ERROR_STOP=1 postgres';
    return new AckRecorder(this.#machine.start(['su', '-s', '/bin/sh', 'postgres', '-c', script]), disks);
  }

  /** How many of the acknowledged numbers are there. */
  async verify(acks: readonly Ack[]): Promise<Survivors> {
    const last = Number(acks.at(-1)?.line ?? 0);
    const ok = Number(await this.query(`select count(*) from acked where n <= ${last}`));
    return { ok, wrong: 0, missing: last - ok };
  }

  #as(line: string, deadlineMs: number): Promise<string> {
    const script = `${binaries}; export PGDATA=${this.#folder}/cluster; cd /; ${line}`;
    return this.#machine.sh(`su -s /bin/sh postgres -c "$SCRIPT"`, { env: { SCRIPT: script }, deadlineMs });
  }
}

const binaries = 'PATH=$(echo /usr/lib/postgresql/*/bin):$PATH';
