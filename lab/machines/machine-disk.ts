/** One disk of a machine, and what can happen to it. */
import { rmSync, statSync } from 'node:fs';
import type { DiskServer, DiskStatus } from './disk-server/client.ts';
import { LabError } from './error.ts';
import type { DiskRecord } from './folder.ts';
import type { Machine } from './machine.ts';

export interface MachineDiskOptions {
  readonly record: DiskRecord;
  readonly device: string;
  readonly name: string;
  readonly machine: Pick<Machine, 'name' | 'running' | 'exec' | 'run' | 'console'>;
  readonly server: DiskServer;
  /** Takes it out of the machine's record. */
  readonly forget: () => void;
}

export class MachineDisk {
  readonly #options: MachineDiskOptions;

  constructor(options: MachineDiskOptions) {
    this.#options = options;
  }

  /** Its name in the machine: /dev/ubda, /dev/nbd0 … */
  get device(): string {
    return this.#options.device;
  }

  get kind(): DiskRecord['kind'] {
    return this.#options.record.kind;
  }

  get sizeBytes(): number {
    return this.#options.record.sizeBytes;
  }

  /** The file on the host that holds its bytes. */
  get file(): string {
    return this.#options.record.file;
  }

  /** The log of its writes and flushes, for `LogReader` and `Replay`. @throws LabError when it has none */
  get logPath(): string {
    const { log } = this.#options.record;
    if (!log) throw new LabError(`${this.device} has no log`, 'add it with log: true');
    return log;
  }

  /** A position in the log; all writes that were answered before the call lie below it. Bytes. */
  logPosition(): number {
    return statSync(this.logPath).size;
  }

  /** Requests are taken and not answered. */
  hang(): Promise<void> {
    return this.#fault('hang');
  }

  /** Every read, write and flush fails with EIO. */
  fail(): Promise<void> {
    return this.#fault('fail');
  }

  /** Every write fails with ENOSPC, as on a thin device whose pool is full. */
  fill(): Promise<void> {
    return this.#fault('fill');
  }

  /** Each request takes this much longer, one after the other. @param delayMs 0: fast again */
  async slow(delayMs: number): Promise<void> {
    await this.#send({ do: 'slow', delayMs });
  }

  /** Ends hang, fail, fill and slow; what was held back is carried out. */
  async mend(): Promise<void> {
    await this.#send({ do: 'slow', delayMs: 0 });
    await this.#fault('none');
  }

  async ignoreFlush(on: boolean): Promise<void> {
    await this.#send({ do: 'ignore-flush', on });
  }

  status(): Promise<DiskStatus> {
    this.#controlled();
    return this.#options.server.status(this.#options.name);
  }

  /**
   * Pulls the disk out; its bytes stay for `plugIn`. A controlled disk goes whether it is in use or not: what uses it
   * gets I/O errors.
   *
   * @throws LabError when a plain disk is in use
   */
  async pull(): Promise<void> {
    const { machine, record, server, name } = this.#options;
    if (record.kind === 'plain') {
      if (!machine.running) return;
      await machine.console('remove', `ubd${record.slot}`).catch((error: unknown) => {
        throw new LabError(
          `${machine.name} keeps ${this.device}, which is in use`,
          'only a controlled disk can be pulled out of use',
          {
            cause: error,
          },
        );
      });
      return;
    }
    await server.send({ do: 'disconnect', name });
    if (machine.running) await machine.run(['nbd-client', '-d', this.device], { deadlineMs: 20_000 });
  }

  /** Puts it in, again or for the first time. */
  async plugIn(): Promise<void> {
    const { machine, record, name } = this.#options;
    if (record.kind === 'plain') {
      await machine.console('config', `ubd${record.slot}=${record.file},,${name}`);
      return;
    }
    await machine.exec(['modprobe', 'nbd', 'nbds_max=16']);
    await machine.exec(['nbd-client', '-N', name, '10.78.0.254', '10809', this.device]);
  }

  /** Pulls it out for good; its bytes and its log are removed, an `image` stays. */
  async remove(): Promise<void> {
    await this.pull();
    const { record, server, name, forget } = this.#options;
    if (record.kind === 'controlled') await server.send({ do: 'remove', name });
    forget();
    if (!record.file.endsWith(`/disks/${name}`)) return;
    rmSync(record.file, { force: true });
    if (record.log) rmSync(record.log, { force: true });
  }

  #fault(fault: DiskStatus['fault']): Promise<void> {
    return this.#send({ do: 'fault', fault });
  }

  async #send(
    command:
      | { readonly do: 'fault'; readonly fault: DiskStatus['fault'] }
      | { readonly do: 'slow'; readonly delayMs: number }
      | { readonly do: 'ignore-flush'; readonly on: boolean },
  ): Promise<void> {
    this.#controlled();
    await this.#options.server.send({ ...command, name: this.#options.name });
  }

  #controlled(): void {
    if (this.kind === 'controlled') return;
    const { machine } = this.#options;
    throw new LabError(
      `${this.device} of ${machine.name} is a plain disk, which cannot misbehave`,
      `add a controlled one: npm run lab -- disk add ${machine.name.slice(1)} 4G --controlled`,
    );
  }
}
