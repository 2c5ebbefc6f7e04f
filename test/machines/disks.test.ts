import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type Machine, startMachines } from '../../lab/machines/index.ts';

let lab: Lab;
let machine: Machine;

beforeAll(async () => {
  lab = await startMachines({
    disks: ['512M', { size: '512M', kind: 'controlled' }, { size: '512M', kind: 'controlled' }],
  });
  machine = lab.machine(1);
});
afterAll(() => lab.down());

const write = (device: string, deadlineMs = 60_000) =>
  machine.run(['dd', 'if=/dev/urandom', `of=${device}`, 'bs=64k', 'count=4', 'oflag=direct', 'conv=fsync,notrunc'], {
    deadlineMs,
  });

describe('disks of a machine', () => {
  it('are there at boot, with their sizes and serials', async () => {
    expect(machine.disks.map(({ device }) => device)).toEqual(['/dev/ubda', '/dev/nbd0', '/dev/nbd1']);
    expect(await machine.sh('for d in ubda nbd0 nbd1; do cat /sys/block/$d/size; done')).toBe(
      Array(3)
        .fill(2 ** 20)
        .join('\n'),
    );
    expect(await machine.sh('cat /sys/block/ubda/serial')).toBe('n1d0');
  });

  it('come and go while it runs', async () => {
    const plain = await machine.addDisk('64M');
    const controlled = await machine.addDisk({ size: '64M', kind: 'controlled' });
    expect([plain.device, controlled.device]).toEqual(['/dev/ubdb', '/dev/nbd2']);
    for (const disk of [plain, controlled]) {
      expect((await write(disk.device)).exitCode).toBe(0);
      await disk.remove();
      expect(existsSync(disk.file)).toBe(false);
    }
    expect(await machine.sh('ls /sys/block | grep -c ubdb || true; cat /sys/block/nbd2/size')).toBe('0\n0');
    expect(machine.disks).toHaveLength(3);
  });

  it('carry LVM thin volumes and LUKS', async () => {
    await machine.sh(`
      modprobe dm-thin-pool
      vgcreate -qq vg /dev/ubda /dev/nbd1
      lvcreate -qqy --type thin-pool -L 600M -Zy -n pool vg
      lvcreate -qqy -V 1G --thinpool pool -n v vg
      echo key | cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file - /dev/vg/v
      echo key | cryptsetup open --key-file - /dev/vg/v plain
      mkfs.ext4 -q -E nodiscard /dev/mapper/plain; mkdir -p /mnt/p; mount /dev/mapper/plain /mnt/p; echo secret >/mnt/p/f; umount /mnt/p`);
    await machine.powerCut();
    await machine.boot();
    expect(
      await machine.sh(`
        vgchange -qq -ay vg; echo key | cryptsetup open --key-file - /dev/vg/v plain; mkdir -p /mnt/p; mount /dev/mapper/plain /mnt/p
        cat /mnt/p/f; umount /mnt/p; cryptsetup close plain; vgremove -qqy vg; pvremove -qq /dev/ubda /dev/nbd1`),
    ).toBe('secret');
  });

  it('fail, fill and mend', async () => {
    const disk = machine.disk('nbd0');
    await disk.fail();
    expect((await write(disk.device)).stderr).toContain('Input/output error');
    await disk.fill();
    expect((await write(disk.device)).exitCode).not.toBe(0);
    expect(
      (await machine.run(['dd', `if=${disk.device}`, 'of=/dev/null', 'bs=4k', 'count=1', 'iflag=direct'])).exitCode,
    ).toBe(0);
    await disk.mend();
    expect((await write(disk.device)).exitCode).toBe(0);
  });

  it('hang, one while the others go on, and carry out later what was asked', async () => {
    const disk = machine.disk('nbd0');
    await disk.hang();
    const writer = machine.start(['dd', 'if=/dev/urandom', `of=${disk.device}`, 'bs=4k', 'count=1', 'oflag=direct']);
    const done = new Promise((resolve) => writer.once('close', resolve));
    while ((await disk.status()).held === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    for (const other of ['/dev/ubda', '/dev/nbd1']) expect((await write(other)).exitCode).toBe(0);
    expect(writer.exitCode).toBe(null);
    await disk.mend();
    expect(await done).toBe(0);
  });

  it('hang under a power cut, which does not wait for them', async () => {
    const disk = machine.disk('nbd0');
    await disk.hang();
    await expect(write(disk.device, 500)).rejects.toThrow('no end after 500 ms');
    await machine.powerCut();
    await disk.mend();
    await machine.boot();
    expect((await write(disk.device)).exitCode).toBe(0);
  });

  it('slow down', async () => {
    const disk = machine.disk('nbd0');
    await disk.slow(300);
    const started = performance.now();
    expect((await write(disk.device)).exitCode).toBe(0);
    // Four writes one after the other take at least their own delays; only the lower bound is the disk's doing.
    expect(performance.now() - started).toBeGreaterThan(1_200);
    await disk.mend();
    expect((await disk.status()).delayMs).toBe(0);
  });

  it('are pulled out of use and put back', async () => {
    const disk = machine.disk('nbd0');
    await machine.sh('mkfs.ext4 -q /dev/nbd0; mkdir -p /mnt/q; mount /dev/nbd0 /mnt/q; echo before >/mnt/q/f; sync');
    await disk.pull();
    expect((await machine.run(['sh', '-c', 'echo after >/mnt/q/g && sync /mnt/q/g'])).exitCode).not.toBe(0);
    expect((await write('/dev/nbd1')).exitCode).toBe(0);
    await machine.sh('umount -l /mnt/q');
    await disk.plugIn();
    expect(await machine.sh('mount /dev/nbd0 /mnt/q; cat /mnt/q/f; umount /mnt/q')).toBe('before');
  });

  it('refuse what they cannot do, with the next step', async () => {
    await expect(machine.disk('ubda').fail()).rejects.toMatchObject({
      message: '/dev/ubda of n1 is a plain disk, which cannot misbehave',
      next: expect.stringContaining('--controlled') as string,
    });
    expect(() => machine.disk('ubdh')).toThrow('n1 has no disk /dev/ubdh');
    expect(() => machine.disk('nbd0').logPath).toThrow('/dev/nbd0 has no log');
    await expect(machine.addDisk('5')).rejects.toThrow('"5" is no size of a disk');
    await expect(machine.addDisk({ size: '1G', kind: 'plain', log: true })).rejects.toThrow('cannot log');
    await expect(machine.addDisk({ image: '/nowhere' })).rejects.toThrow('there is no file /nowhere');
    await machine.sh('mkfs.ext4 -q /dev/ubda; mkdir -p /mnt/u; mount /dev/ubda /mnt/u');
    await expect(machine.disk('ubda').pull()).rejects.toThrow('is in use');
    await machine.sh('umount /mnt/u');
  });
});
