/** A machine with encrypted volumes: Azekura's state and a pool of files on /dev/ubda, keys in the machine's memory. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, type Machine, startMachines } from '../../lab/machines/index.ts';
import type { Pool, Volume } from '../../src/model/kinds.ts';
import { azekuraIn, type MachineAzekura } from './azekura.ts';

export type KeyName = 'one' | 'two' | 'three' | 'wrong';
const names: readonly KeyName[] = ['one', 'two', 'three', 'wrong'];

export class Sealed {
  readonly lab: Lab;
  readonly machine: Machine;
  readonly azekura: MachineAzekura;
  readonly dataDir = '/data/state';
  /** What is written to volumes, and must be readable nowhere below them. */
  readonly marker = `plain-${randomBytes(12).toString('hex')}`;
  readonly keys = Object.fromEntries(names.map((name) => [name, randomBytes(36).toString('base64')])) as Readonly<
    Record<KeyName, string>
  >;

  private constructor(lab: Lab) {
    this.lab = lab;
    this.machine = lab.machine(1);
    // In a file, which is searched for keys.
    this.azekura = azekuraIn(this.machine, this.dataDir, { log: '/data/log' });
  }

  /** @param more disks after /dev/ubda */
  static async start(...more: readonly string[]): Promise<Sealed> {
    ensureBuilt();
    const sealed = new Sealed(await startMachines({ memory: '640M', disks: ['4G', ...more] }));
    await sealed.machine.sh('mkfs.xfs -q /dev/ubda; mkdir -p /data; mount /dev/ubda /data; mkdir /data/pool');
    await sealed.up();
    await sealed.azekura.run('pool', 'add', 'main', '/data/pool');
    return sealed;
  }

  /** Puts keys where they are, which a power cut takes, and starts Azekura. */
  async up(keys: readonly KeyName[] = names): Promise<void> {
    await this.machine.sh('mkdir -p /data; mountpoint -q /data || mount /dev/ubda /data');
    for (const name of keys) await this.give(name);
    await this.azekura.up();
  }

  /** On the pool of files and on volume groups: what encrypted volumes must do on each engine. */
  async addPools(): Promise<void> {
    await this.machine.sh('mkdir -p /data/next');
    await this.azekura.run('pool', 'add', 'next', '/data/next');
    for (const [name, disk] of [
      ['vg', '/dev/ubdb'],
      ['vg2', '/dev/ubdc'],
    ] as const)
      await this.azekura.run('pool', 'add', name, disk, '--engine', 'lvm');
    for (const engine of ['file', 'lvm'])
      await this.azekura.run('class', 'create', engine, '--engine', engine, '--filesystem', 'ext4');
  }

  /** Where the copy of a volume's header lies. */
  async headerOf(name: string, poolName: string): Promise<string> {
    const { spec, status } = await this.azekura.json<Pool>('pool', 'show', poolName);
    const id = await this.idOf(name);
    if (spec.engine === 'file') return `${status.path}/volumes/${id}/luks-header`;
    return `${this.dataDir}/run/engine-lvm/companions/${status.poolId}/${id}/luks-header`;
  }

  /** How many volumes lie on a pool. */
  async volumesOn(poolName: string): Promise<number> {
    return (await this.azekura.json<Pool>('pool', 'show', poolName)).status.volumes;
  }

  /** Without its key a volume says so at once, and with a wrong one; nothing of it is attached. */
  async expectKeyNeeded(name: string, key: KeyName): Promise<void> {
    const mount = ['volume', 'mount', name, `/mnt/${name}`];
    await this.take(key);
    expect(await this.refusal(...mount)).toContain(`there is no file ${this.fileOf(key)} on node n1`);
    expect(await this.why(name)).toContain('EncryptionKeyMissing');
    await this.give(key, 'wrong');
    expect(await this.refusal(...mount)).toContain('does not open it');
    expect(await this.why(name)).toContain('EncryptionKeyWrong');
    const id = await this.idOf(name);
    expect(await this.machine.sh('dmsetup ls --target crypt; losetup --noheadings -O BACK-FILE')).not.toContain(id);
    await this.azekura.run('volume', 'umount', name);
    await this.give(key);
  }

  /** Mounts a volume and says what a command prints there. */
  async inside(name: string, script: string): Promise<string> {
    await this.azekura.run('volume', 'mount', name, `/mnt/${name}`);
    const said = await this.machine.sh(`cd /mnt/${name}; ${script}`, { deadlineMs: 120_000 });
    await this.azekura.run('volume', 'umount', name);
    return said;
  }

  /** A key file: of this key, or with another one's bytes. */
  async give(name: KeyName, bytesOf: KeyName = name): Promise<void> {
    const line = 'mkdir -p /run/keys; umask 377; rm -f "$1"; cat >"$1"';
    await this.machine.exec(['sh', '-c', line, '-', this.fileOf(name)], { input: this.keys[bytesOf] });
  }

  async take(...keys: readonly KeyName[]): Promise<void> {
    await this.machine.exec(['rm', '-f', ...keys.map((name) => this.fileOf(name))]);
  }

  fileOf(name: KeyName): string {
    return `/run/keys/${name}`;
  }

  /** The sentence that a verb fails with, at once or when it has waited a while. */
  refusal(...words: readonly string[]): Promise<string> {
    return this.azekura.refusal('--timeout', '30s', ...words);
  }

  async why(name: string): Promise<string> {
    const argv = ['azekura', '--data-dir', this.dataDir, 'why', name];
    return (await this.machine.run(argv, { deadlineMs: 120_000 })).stdout;
  }

  async idOf(name: string): Promise<string> {
    return (await this.azekura.json<Volume>('volume', 'show', name)).status.volumeId ?? '';
  }

  async mapping(name: string): Promise<string> {
    return `azk-luks-${await this.idOf(name)}`;
  }

  /** Whether a key opens what is stored, by cryptsetup alone. */
  async opens(device: string, key: KeyName): Promise<boolean> {
    const argv = ['cryptsetup', 'open', '--test-passphrase', '--key-file', '-', device];
    return (await this.machine.run(argv, { input: this.keys[key] })).exitCode === 0;
  }
}
