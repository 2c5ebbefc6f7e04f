import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, type Machine, startMachines } from '../../lab/machines/index.ts';
import { azekuraIn } from './azekura.ts';

/* What `azekura rescue` makes of the bare disks of a volume group: the machine that wrote them has lost its power and state. */
let lab: Lab;
let machine: Machine;
const rescue = async (...words: readonly string[]) =>
  (await machine.exec(['azekura', 'rescue', ...words], { deadlineMs: 300_000 })).stdout;
const list = async (...paths: readonly string[]) => JSON.parse(await rescue('list', ...paths, '-o', 'json'));

beforeAll(async () => {
  ensureBuilt();
  lab = await startMachines({ memory: '512M', disks: ['20G', '20G', '512M'] });
  machine = lab.machine(1);
  const azekura = azekuraIn(machine);
  await azekura.up();
  await azekura.run('pool', 'add', 'main', '/dev/ubda', '/dev/ubdb', '--engine', 'lvm');
  await azekura.run('class', 'create', 'lvm', '--engine', 'lvm', '--filesystem', 'ext4', '--default');
  const volumes = { db: ['128Mi'], big: ['320Mi', '--filesystem', 'xfs'], fat: ['64Mi', '--thick'] };
  for (const [name, [size = '', ...more]] of Object.entries(volumes)) {
    await azekura.run('volume', 'create', name, '--size', size, ...more);
    await azekura.run('volume', 'mount', name, `/mnt/${name}`);
    await machine.sh(`echo first >/mnt/${name}/file; sync`);
  }
  await azekura.run('snapshot', 'create', 'db', 'monday');
  await machine.sh('for v in db big fat; do echo second >/mnt/$v/file; done; sync');
  // In the journal only: the power goes before it is written to its place.
  await machine.sh('echo last >/mnt/db/late; echo last >/mnt/big/late; sync -f /mnt/db/late; sync -f /mnt/big/late');
  await machine.powerCut();
  await machine.boot();
});
afterAll(() => lab.down());

describe('rescue from bare disks with LVM', () => {
  it('lists what any disk of the group tells, once', async () => {
    for (const paths of [['/dev/ubda'], ['/dev/ubdb', '/dev/ubda'], ['/dev']]) {
      const report = await list(...paths);
      expect(report.pools).toHaveLength(1);
      expect(report.pools[0]).toMatchObject({ kind: 'group', volumes: 3 });
      expect(report.volumes.map((one: { identity: { name: string } }) => one.identity.name)).toEqual([
        'big',
        'db',
        'fat',
      ]);
    }
    const [db] = (await list('/dev/ubda')).volumes.filter(
      (one: { file: string; identity: { name: string } }) => one.identity.name === 'db',
    );
    expect(db.snapshots).toMatchObject([{ identity: { name: 'monday' } }]);
    expect(await rescue('list', '/dev/ubda')).toMatch(/db .*128Mi/);
  });

  it('says so when a disk holds nothing of ours', async () => {
    const { stderr, exitCode } = await machine.run(['azekura', 'rescue', 'list', '/dev/ubdc']);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('there is no pool at /dev/ubdc');
  });

  it('mounts a volume and a snapshot, thin and thick, as they lie there and with their journal', async () => {
    await rescue('mount', '/dev/ubda', 'db', '/mnt/look', '--snapshot', 'monday');
    expect(await machine.sh('cat /mnt/look/file')).toBe('first');
    expect(await machine.sh('! touch /mnt/look/x 2>&1')).toContain('Read-only');
    await rescue('umount', '/mnt/look');
    for (const name of ['db', 'big', 'fat']) {
      await rescue('mount', '/dev/ubdb', name, '/mnt/look', '--replay');
      expect(await machine.sh('cat /mnt/look/file')).toBe('second');
      if (name !== 'fat') expect(await machine.sh('cat /mnt/look/late')).toBe('last');
      await rescue('umount', '/mnt/look');
    }
  });

  it('exports to a file, compared with what was read', async () => {
    await rescue('export', '/dev/ubda', 'db', '/run/db.img', '--snapshot', 'monday');
    await machine.sh('mkdir -p /mnt/img; mount -o loop,ro,noload /run/db.img /mnt/img');
    expect(await machine.sh('cat /mnt/img/file; umount /mnt/img; rm /run/db.img')).toBe('first');
  });

  it('gives back what a killed command has left, and leaves nothing behind', async () => {
    const killed = machine.start(['azekura', 'rescue', 'export', '/dev/ubda', 'big', '/run/big.img']);
    await machine.sh(
      'for i in $(seq 300); do dmsetup ls | grep -q rescue && break; sleep 0.1; done; pkill -9 -f "[r]escue export"',
    );
    await new Promise((resolve) => (killed.exitCode === null ? killed.once('exit', resolve) : resolve(undefined)));
    await list('/dev/ubda');
    expect(await machine.sh('dmsetup ls; losetup -a; ls /run/azekura-rescue')).toMatch(/^(No devices found)?$/);
  });

  it('has written nothing to the disks since the machine was booted', async () => {
    // Sectors written: Documentation/block/stat.rst.
    expect(await machine.sh("awk '{print $7}' /sys/block/ubda/stat /sys/block/ubdb/stat")).toBe('0\n0');
  });
});
