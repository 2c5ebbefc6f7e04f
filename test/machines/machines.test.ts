import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, LabError, startMachines } from '../../lab/machines/index.ts';
import { eventually } from '../../lab/workbench.ts';

let lab: Lab;

beforeAll(async () => {
  ensureBuilt();
  lab = await startMachines({ machines: 2, disks: ['1G'] });
});
afterAll(() => lab.down());

const reaches = async (from: number, to: number) =>
  (await lab.machine(from).run(['ping', '-c1', '-W1', `n${to}`])).exitCode === 0;

describe('a machine', () => {
  it('has a kernel of its own, with device-mapper', async () => {
    const machine = lab.machine(1);
    expect(await machine.sh('uname -n')).toBe('n1');
    expect(
      await machine.sh('dmsetup targets | grep -c thin-pool || { modprobe dm-thin-pool; echo loaded; }'),
    ).toBeTruthy();
    expect(await machine.sh('cat /proc/sys/kernel/random/boot_id')).not.toBe(
      await lab.machine(2).sh('cat /proc/sys/kernel/random/boot_id'),
    );
  });

  it('has the programs that storage is made of', async () => {
    const programs =
      'lvm thin_delta cryptsetup mkfs.xfs mkfs.ext4 mdadm smartctl fio nbd-client drbdsetup node azekura pvmove';
    expect(await lab.machine(1).sh(`for p in ${programs}; do command -v $p >/dev/null || echo $p; done`)).toBe('');
    expect(await lab.machine(1).sh('ls /usr/lib/postgresql/*/bin/pgbench')).toContain('pgbench');
  });

  it('takes arguments, input and environment as they are, and returns exit codes and both streams', async () => {
    const words = ['a b', "it's", '$HOME', '', '*', 'ü"\\'];
    const printed = await lab.machine(1).exec(['printf', '%s\\n', ...words]);
    expect(printed.stdout).toBe(words.map((word) => `${word}\n`).join(''));
    const input = Buffer.alloc(200_000, 'azekura ').toString();
    expect((await lab.machine(1).exec(['cat'], { input })).stdout).toBe(input);
    const result = await lab
      .machine(1)
      .run(['sh', '-c', 'echo out; echo "$WORD in $PWD" >&2; exit 255'], { env: { WORD: 'x y' }, cwd: '/run' });
    expect(result).toMatchObject({ exitCode: 255, stdout: 'out\n', stderr: 'x y in /run\n' });
    await expect(lab.machine(1).exec(['ls', '/nowhere'])).rejects.toThrow(/nowhere.*No such file/);
  });

  it('ends a command at its deadline, with what it started', async () => {
    const run = lab.machine(1).exec(['sh', '-c', 'sleep 987 & sleep 988'], { deadlineMs: 500 });
    await expect(run).rejects.toThrow('no end after 500 ms');
    expect(await lab.machine(1).sh('pgrep -f "sleep 98[78]" || true')).toBe('');
  });

  it('runs the checkout', async () => {
    const version = await lab.machine(1).exec(['azekura', 'version']);
    expect(version.stdout).toMatch(/\d+\.\d+\.\d+/);
  });

  it('carries a whole Azekura, whose volumes outlive a power cut', async () => {
    const machine = lab.machine(2);
    const azekura = (...words: readonly string[]) => machine.exec(['azekura', '--data-dir', '/data/state', ...words]);
    const up = async () => {
      machine.start(['azekura', 'up', '--data-dir', '/data/state', '--no-pool']);
      await eventually(() => azekura('status'), 60_000, 500);
    };
    await machine.sh('mkfs.xfs -q /dev/ubda; mkdir /data; mount /dev/ubda /data; mkdir /data/pool');
    await up();
    await azekura('pool', 'add', 'main', '/data/pool');
    await azekura('volume', 'create', 'v1', '--size', '64Mi', '--filesystem', 'ext4');
    await azekura('volume', 'mount', 'v1', '/mnt/v1');
    await machine.sh('echo kept >/mnt/v1/f; sync');
    await machine.powerCut();
    await machine.boot();
    await machine.sh('mkdir /data; mount /dev/ubda /data');
    await up();
    // It mounts again by itself what was mounted.
    await eventually(async () => expect(await machine.sh('cat /mnt/v1/f')).toBe('kept'), 60_000, 500);
    await machine.powerCut();
    await machine.boot();
  });

  it('keeps its disks and loses its root at a power cut', async () => {
    const machine = lab.machine(1);
    await machine.sh(
      'mkfs.ext4 -q /dev/ubda; mkdir /mnt/d; mount /dev/ubda /mnt/d; echo kept >/mnt/d/f; sync; echo lost >/f',
    );
    const writer = machine.start(['sleep', '600']);
    const ended = new Promise((resolve) => writer.once('close', resolve));
    await machine.powerCut();
    expect(await ended).toBe(255);
    expect(machine.running).toBe(false);
    await expect(machine.exec(['true'])).rejects.toThrow('n1 is off');
    await machine.boot();
    expect(
      await machine.sh('mkdir /mnt/d; mount -o ro /dev/ubda /mnt/d; cat /mnt/d/f; ls /f || true; umount /mnt/d'),
    ).toBe('kept');
  });

  it('hangs and goes on', async () => {
    lab.machine(2).hang();
    expect(await reaches(1, 2)).toBe(false);
    lab.machine(2).resume();
    expect(await reaches(1, 2)).toBe(true);
    expect(await lab.machine(2).sh('echo on')).toBe('on');
  });

  it('ends while it hangs', async () => {
    lab.machine(2).hang();
    await lab.machine(2).powerCut();
    await lab.machine(2).boot();
    expect(await reaches(1, 2)).toBe(true);
  });

  it('shares folders with the host', async () => {
    await lab.machine(1).sh('echo one >/share/a; echo all >/shared/b');
    const { readFileSync } = await import('node:fs');
    expect(readFileSync(`${lab.machine(1).share}/a`, 'utf8')).toBe('one\n');
    expect(await lab.machine(2).sh('cat /shared/b')).toBe('all');
  });
});

describe('the storage network', () => {
  it('is cut between two machines, or around one, and heals; commands go on', async () => {
    expect(await reaches(1, 2)).toBe(true);
    await lab.partition(1, 2);
    expect(await reaches(1, 2)).toBe(false);
    expect((await lab.machine(1).run(['ping', '-c1', '-W1', '10.77.0.254'])).exitCode).toBe(0);
    await lab.partition(1);
    expect((await lab.machine(1).run(['ping', '-c1', '-W1', '10.77.0.254'])).exitCode).not.toBe(0);
    await lab.heal(1);
    expect((await lab.machine(1).run(['ping', '-c1', '-W1', '10.77.0.254'])).exitCode).toBe(0);
    expect(await reaches(2, 1)).toBe(false);
    await lab.heal(2, 1);
    expect(await reaches(2, 1)).toBe(true);
  });

  it('refuses what makes no sense', async () => {
    await expect(lab.partition(1, 1)).rejects.toThrow(LabError);
    await expect(lab.partition(1, 7)).rejects.toThrow('no machine n7');
    await expect(lab.addMachine(1)).rejects.toThrow('has a machine n1');
    await expect(lab.addMachine(12)).rejects.toThrow('no number of a machine');
    await expect(startMachines({ machines: 10 })).rejects.toThrow('0 to 9');
    await expect(startMachines({ name: '../x' })).rejects.toThrow('cannot name a lab');
  });
});
