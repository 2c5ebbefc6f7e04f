import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, type Machine, startMachines } from '../../lab/machines/index.ts';
import { eventually } from '../../lab/workbench.ts';
import { azekuraIn, type MachineAzekura } from './azekura.ts';

/* A thin pool on mirrored disks: put together of parts, so that there are more steps to die between. */
let lab: Lab;
let machine: Machine;
let azekura: MachineAzekura;

beforeAll(async () => {
  ensureBuilt();
  lab = await startMachines({ memory: '768M', disks: ['4G', '4G', '4G'] });
  machine = lab.machine(1);
  azekura = azekuraIn(machine);
  await azekura.up();
  await azekura.run('class', 'create', 'lvm', '--engine', 'lvm', '--filesystem', 'ext4', '--default');
});
afterAll(() => lab.down());

const lvs = () =>
  machine.sh(
    'lvs --all --noheadings --separator " " --options lv_name,segtype,lv_tags --config "devices { use_devicesfile=0 }"',
  );

async function ready(): Promise<void> {
  await eventually(
    async () => {
      const pool = await azekura.json<{ status: { phase: string; causes: { code: string }[] } }>(
        'pool',
        'show',
        'twin',
      );
      expect(pool.status.phase).toBe('Ready');
    },
    90_000,
    500,
  );
}

describe('a pool of lvm on mirrored disks', () => {
  it('is refused on fewer disks than it needs, and nothing is written', async () => {
    const words = ['pool', 'add', 'lone', '/dev/ubdc', '--engine', 'lvm', '--layout', 'raid1'];
    expect(await azekura.refusal(...words)).toMatch(/raid1.*2 disks|2 disks.*raid1/);
    expect(await machine.sh('blkid -p /dev/ubdc || true')).toBe('');
  });

  it('is made, holds data, and is the same after the daemon was killed', async () => {
    await azekura.run('pool', 'add', 'twin', '/dev/ubda', '/dev/ubdb', '--engine', 'lvm', '--layout', 'raid1');
    await ready();
    // What is written lies twice: of two disks of 4 GiB one is for data.
    const { status } = await azekura.json<{ status: { capacityBytes: number; freeBytes: number } }>(
      'pool',
      'show',
      'twin',
    );
    expect(status.capacityBytes / 2 ** 30).toBeGreaterThan(3.5);
    expect(status.capacityBytes / 2 ** 30).toBeLessThan(4);
    expect(status.freeBytes).toBeLessThanOrEqual(status.capacityBytes);
    const made = await lvs();
    expect(made).toMatch(/^ *azk_pool thin-pool .*azk\.kind=pool/m);
    expect(made).toMatch(/azk_pool_tdata\S* raid1/);
    expect(made).toMatch(/azk_pool_tmeta\S* raid1/);
    await azekura.run('volume', 'create', 'db', '--size', '128Mi');
    await azekura.run('volume', 'mount', 'db', '/mnt/db');
    await machine.sh('echo kept >/mnt/db/file; sync -f /mnt/db/file; pkill -9 -f " [u]p --data-dir"');
    await azekura.up();
    await ready();
    expect(await machine.sh('cat /mnt/db/file')).toBe('kept');
    expect((await lvs()).match(/azk_pool_t(data|meta)\S* raid1/g)).toHaveLength(2);
    await azekura.run('volume', 'create', 'other', '--size', '64Mi');
  });

  // LVM once took what was suspended for its own, and the pool refused every later volume.
  it('is cut in groups at one instant while its volumes are mounted and written, and makes volumes afterwards', async () => {
    await azekura.run('volume', 'create', 'wal', '--size', '64Mi');
    await azekura.run('volume', 'mount', 'wal', '/mnt/wal');
    const script =
      'i=0; while :; do i=$((i+1)); for v in db wal; do echo $i >>/mnt/$v/log && sync /mnt/$v/log || exit 1; done; done';
    const writer = machine.start(['sh', '-c', script, 'group-writer']);
    await eventually(() => machine.exec(['test', '-s', '/mnt/wal/log']), 60_000, 200);
    await azekura.run('snapshot', 'create', '--group', 'nightly', 'db', 'wal');
    const atCut = Number(await machine.sh('wc -l </mnt/wal/log'));
    await eventually(async () => expect(Number(await machine.sh('wc -l </mnt/wal/log'))).toBeGreaterThan(atCut));
    expect(writer.exitCode).toBeNull();
    await machine.sh("pkill -f 'group-write[r]'");
    const kept: number[] = [];
    for (const name of ['db', 'wal']) {
      await azekura.run('volume', 'create', `of-${name}`, '--from-snapshot', `nightly-${name}`);
      await azekura.run('volume', 'mount', `of-${name}`, `/mnt/of-${name}`);
      kept.push(Number(await machine.sh(`wc -l </mnt/of-${name}/log`)));
    }
    const [first = 0, second = 0] = kept;
    expect(second).toBeGreaterThan(0);
    expect([second, second + 1]).toContain(first);
    await azekura.run('volume', 'create', 'after', '--size', '64Mi');
  });
});
