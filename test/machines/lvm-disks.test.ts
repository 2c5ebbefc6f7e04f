import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, type Machine, startMachines } from '../../lab/machines/index.ts';
import { eventually } from '../../lab/workbench.ts';
import type { Node, Pool, Volume } from '../../src/model/kinds.ts';
import { azekuraIn, type MachineAzekura } from './azekura.ts';

/*
 * The disks of lvm pools: taken by consent only, added and emptied while volumes are in use, broken in every way. The
 * state lies on /dev/ubde, so that a power cut keeps it.
 */
let lab: Lab;
let machine: Machine;
let azekura: MachineAzekura;

const up = async () => {
  await machine.sh('mkdir -p /data; mount /dev/ubde /data');
  await azekura.up();
};
const pool = (name: string) => azekura.json<Pool>('pool', 'show', name);
const codes = async (name: string) => (await pool(name)).status.causes.map(({ code }) => code);
const untilCause = (name: string, ...wanted: readonly string[]) =>
  eventually(
    async () => expect((await codes(name)).filter((code) => wanted.includes(code))).not.toEqual([]),
    120_000,
    1_000,
  );
const untilWell = (name: string) =>
  eventually(
    async () => expect((await pool(name)).status).toMatchObject({ phase: 'Ready', causes: [] }),
    120_000,
    1_000,
  );
const groupOf = async (name: string) => ((await pool(name)).status.path ?? '').slice('/dev/'.length);
/** A volume that can be made, used and deleted just now. */
const works = async (name: string) => {
  await azekura.run('volume', 'create', `on-${name}`, '--size', '16Mi', '--block', '--pool', name);
  await azekura.run('volume', 'delete', `on-${name}`, '--skip-recycle-bin');
};

beforeAll(async () => {
  ensureBuilt();
  lab = await startMachines({
    memory: '768M',
    disks: [
      '1G',
      '1G',
      '1G',
      '1G',
      '1G',
      ...Array.from({ length: 3 }, () => ({ size: '1G', kind: 'controlled' as const })),
    ],
  });
  machine = lab.machine(1);
  azekura = azekuraIn(machine, '/data/state');
  await machine.sh('mkfs.ext4 -q /dev/ubde');
  await up();
  await azekura.run('class', 'create', 'lvm', '--engine', 'lvm', '--filesystem', 'ext4', '--default');
});
afterAll(() => lab.down());

describe('disks', () => {
  it('are offered when they are blank, and taken by consent only', async () => {
    await machine.sh('mkfs.ext4 -q /dev/ubdb; vgcreate -q other /dev/ubdd');
    expect(await azekura.run('node', 'show')).toContain('azekura pool add n1 /dev/ubda --engine lvm');
    expect((await azekura.json<Node>('node', 'show')).status.devices.map(({ path }) => path)).toContain('/dev/nbd0');
    const add = ['pool', 'add', 'main'];
    const lvm = ['--engine', 'lvm'];
    for (const [words, sentence] of [
      [['/dev/ubdb'], '/dev/ubdb holds data (ext4), so it is not touched'],
      [['/dev/ubdb', '--confirm', 'another'], '/dev/ubdb holds data (ext4), so it is not touched'],
      [['/dev/ubde'], '/dev/ubde is mounted at /data'],
      [['/dev/ubdd'], '/dev/ubdd is part of volume group other'],
      [['/dev/nowhere'], 'the place of pool main is not there: /dev/nowhere'],
      [['/dev/ubda', '/dev/ubdc', '--layout', 'raid6'], 'the layout raid6 needs 5 disks, and the volume group has 2'],
      [['/dev/ubda', '--overcommit', '0'], '--overcommit'],
      [['nogroup'], 'the place of pool main is not there: volume group nogroup'],
    ] as const) {
      expect(await azekura.refusal(...add, ...words, ...lvm)).toContain(sentence);
    }
    expect(await azekura.run(...add, '/dev/ubda', ...lvm, '--dry-run')).toContain(
      'make /dev/ubda (1Gi) a physical volume',
    );
    expect(await machine.sh('pvs --noheadings -o pv_name')).toBe('/dev/ubdd');
    await azekura.run(...add, '/dev/ubda', ...lvm, '--device-class', 'ssd');
    expect(await azekura.refusal('volume', 'create', 'x', '--size', '16Mi', '--class', 'gone')).toContain('gone');
    await azekura.run('class', 'create', 'tape', '--engine', 'lvm', '--device-class', 'tape', '--filesystem', 'ext4');
    expect(await azekura.refusal('volume', 'create', 'x', '--size', '16Mi', '--class', 'tape')).toContain(
      'its device class is ssd, not tape',
    );
    await machine.sh('vgremove -qy other; pvremove -q /dev/ubdd');
  });

  it('join a pool and leave it while its volumes are in use, over a power cut', { timeout: 900_000 }, async () => {
    await azekura.run('volume', 'create', 'db', '--size', '600Mi');
    await azekura.run('volume', 'mount', 'db', '/mnt/db');
    await machine.sh('dd if=/dev/urandom of=/mnt/db/file bs=1M count=200 status=none; sync');
    const sum = await machine.sh('sha256sum </mnt/db/file', { deadlineMs: 120_000 });
    expect(await azekura.refusal('pool', 'remove-disk', 'main', '/dev/ubda')).toContain('is all that pool main has');
    expect(await azekura.refusal('pool', 'add-disk', 'main', '/dev/ubdb')).toContain('holds data (ext4)');
    const serial = (await azekura.json<Node>('node', 'show')).status.devices.find(
      ({ path }) => path === '/dev/ubdb',
    )?.serial;
    const confirmed = ['pool', 'replace-disk', 'main', '/dev/ubda', '/dev/ubdb', '--confirm', serial ?? '/dev/ubdb'];
    expect(await azekura.run(...confirmed, '--dry-run')).toMatch(
      /everything on it \(ext4\) is lost[\s\S]*move .* from \/dev\/ubda/,
    );
    await azekura.run(...confirmed, '--no-wait');
    // The power goes while LVM moves.
    await eventually(
      async () => expect(await machine.sh('lvs -a --noheadings -o name')).toContain('pvmove'),
      60_000,
      100,
    );
    await machine.powerCut();
    await machine.boot();
    await up();
    await eventually(
      async () => expect((await pool('main')).status.disks.map(({ path }) => path)).toEqual(['/dev/ubdb']),
      300_000,
      1_000,
    );
    expect(await machine.sh('pvs --noheadings -o pv_name | tr -d " "')).toBe('/dev/ubdb');
    await eventually(
      async () => expect(await machine.sh('sha256sum </mnt/db/file', { deadlineMs: 120_000 })).toBe(sum),
      120_000,
      1_000,
    );
    await azekura.run('volume', 'umount', 'db');
    await azekura.run('volume', 'delete', 'db', '--skip-recycle-bin');
    await untilWell('main');
  });

  it('are emptied by a drain of their pool, with volumes and snapshots', { timeout: 300_000 }, async () => {
    await azekura.run('pool', 'add', 'second', '/dev/ubda', '--engine', 'lvm');
    await azekura.run('volume', 'create', 'goes', '--size', '64Mi', '--pool', 'main');
    await azekura.run('volume', 'mount', 'goes', '/mnt/goes');
    await machine.sh('echo before >/mnt/goes/file; sync');
    await azekura.run('snapshot', 'create', 'goes', 'early');
    await machine.sh('echo after >/mnt/goes/file; sync');
    expect(await azekura.run('pool', 'drain', 'main', '--dry-run')).toContain('moves only what is not in use');
    await azekura.run('volume', 'umount', 'goes');
    await azekura.run('pool', 'drain', 'main');
    expect(await machine.sh(`lvs --noheadings -o name ${await groupOf('main')} | grep -v azk_pool || true`)).toBe('');
    await azekura.run('volume', 'mount', 'goes', '/mnt/goes');
    expect(await machine.sh('cat /mnt/goes/file')).toBe('after');
    await azekura.run('volume', 'umount', 'goes');
    await azekura.run('volume', 'restore', 'goes', 'early');
    await azekura.run('volume', 'mount', 'goes', '/mnt/goes');
    expect(await machine.sh('cat /mnt/goes/file')).toBe('before');
    await azekura.run('volume', 'umount', 'goes');
    await azekura.run('snapshot', 'delete', 'early');
    await azekura.run('volume', 'delete', 'goes', '--skip-recycle-bin');
    await azekura.run('pool', 'drain', 'main', '--cancel');
    await azekura.run('pool', 'remove', 'second', '--destroy');
    await untilWell('main');
  });

  it('grow, and are noticed', async () => {
    await machine.sh('dmsetup create growing --table "0 1228800 linear /dev/ubdd 0"');
    const kernelName = await machine.sh(
      'echo /dev/$(basename $(readlink /sys/dev/block/$(dmsetup info -c --noheadings -o major,minor growing)))',
    );
    expect(await azekura.refusal('pool', 'add', 'growing', kernelName, '--engine', 'lvm')).toContain(
      'name it as /dev/mapper/growing',
    );
    await azekura.run('pool', 'add', 'growing', '/dev/mapper/growing', '--engine', 'lvm');
    const before = (await pool('growing')).status.capacityBytes;
    await machine.sh(
      'dmsetup suspend growing; dmsetup load growing --table "0 2097152 linear /dev/ubdd 0"; dmsetup resume growing',
    );
    await eventually(
      async () => expect((await pool('growing')).status.capacityBytes).toBeGreaterThan(before + 300 * 2 ** 20),
      120_000,
      1_000,
    );
    await azekura.run('pool', 'remove', 'growing', '--destroy');
    await machine.sh('dmsetup remove growing');
  });

  it('of a group that was there before stay with what is theirs: TopoLVM and the like', async () => {
    await machine.sh(`vgcreate -q myvg1 /dev/ubdd; lvcreate -qy -L 100M -n root --addtag mine myvg1
      lvcreate -qy --type thin-pool -L 100M -n pool0 myvg1; lvcreate -qy -V 50M -T myvg1/pool0 -n theirs
      for lv in root theirs; do mkfs.ext4 -q /dev/myvg1/$lv; done`);
    const theirs = () =>
      machine.sh(
        'lvs --noheadings --separator , -o name,uuid,size,tags,devices myvg1 | grep -v azk | sort; sha256sum /dev/myvg1/root /dev/myvg1/theirs',
      );
    const before = await theirs();
    expect(await azekura.run('pool', 'add', 'old', 'myvg1', '--engine', 'lvm', '--dry-run')).toContain(
      'leave its other volumes as they are: root, pool0, theirs',
    );
    await azekura.run('pool', 'add', 'old', 'myvg1', '--engine', 'lvm');
    await works('old');
    expect(await theirs()).toBe(before);
    await azekura.run('pool', 'remove', 'old', '--destroy');
    expect(await theirs()).toBe(before);
    expect(await machine.sh('lvs --noheadings -o name myvg1 | grep -c azk || true')).toBe('0');
    expect(await machine.sh('vgs --noheadings -o tags myvg1')).toBe('');
    await machine.sh('vgremove -qff -y myvg1');
  });

  it('of a group that belongs to another machine or cluster, or is read-only, are left alone', async () => {
    const elsewhere = `--config 'global{system_id_source="lvmlocal"} local{system_id="elsewhere"}'`;
    await machine.sh(`vgcreate -q ${elsewhere} away /dev/ubdd`);
    expect(await azekura.refusal('pool', 'add', 'away', 'away', '--engine', 'lvm')).toContain(
      'belongs to the machine elsewhere',
    );
    await machine.sh(`vgremove -qy ${elsewhere} away; vgcreate -q away /dev/ubdd; vgexport -q away`);
    expect(await azekura.refusal('pool', 'add', 'away', 'away', '--engine', 'lvm')).toContain(
      'is exported, for another machine',
    );
    await machine.sh('vgimport -q away; vgremove -qy away; pvremove -q /dev/ubdd');
    const group = await groupOf('main');
    await machine.sh(`vgcfgbackup -q -f /run/cfg ${group}; cp /run/cfg /run/ro
      sed -i '0,/"WRITE"/s/, "WRITE"//' /run/ro; vgcfgrestore -q --force -y -f /run/ro ${group}`);
    await untilCause('main', 'PoolReadOnly');
    expect(await azekura.refusal('volume', 'create', 'x', '--size', '16Mi', '--pool', 'main')).toContain('not ready');
    await machine.sh(`vgcfgrestore -q --force -y -f /run/cfg ${group}`);
    await untilWell('main');
  });

  it('of a locked group wait, and say who holds the lock', { timeout: 300_000 }, async () => {
    const group = await groupOf('main');
    const file = `/run/lock/lvm/V_${group}`;
    // LVM removes the file when it lets go: a lock on a file without a name keeps nobody out.
    const holder = machine.start([
      'sh',
      '-c',
      `until flock ${file} sh -c '[ $(stat -Lc %i /proc/self/fd/3) = $(stat -c %i ${file}) ] && { touch /run/held; sleep 120 || true; }'; do :; done`,
    ]);
    await eventually(() => machine.exec(['test', '-e', '/run/held']), 60_000, 200);
    await azekura.run('volume', 'create', 'waits', '--size', '16Mi', '--block', '--no-wait');
    await eventually(
      async () =>
        expect((await azekura.json<Volume>('volume', 'show', 'waits')).status.causes[0]?.message).toMatch(
          /is locked by (flock|sleep)/,
        ),
      90_000,
      1_000,
    );
    holder.kill();
    await machine.sh('pkill -x sleep || true');
    await eventually(
      async () => expect((await azekura.json<Volume>('volume', 'show', 'waits')).status.phase).toBe('Ready'),
      120_000,
      1_000,
    );
    await azekura.run('volume', 'delete', 'waits', '--skip-recycle-bin');
  });
});

describe('a pool whose disk', { timeout: 900_000 }, () => {
  it('hangs is named, the other groups go on, and it comes back', async () => {
    await azekura.run('pool', 'add', 'frail', '/dev/nbd0', '--engine', 'lvm');
    await machine.disk('/dev/nbd0').hang();
    await untilCause('frail', 'HungCall');
    await works('main');
    await machine.disk('/dev/nbd0').mend();
    await untilWell('frail');
  });

  it('reports I/O errors, or is pulled out, gets nothing new, and the other groups go on', async () => {
    const disk = machine.disk('/dev/nbd0');
    await disk.fail();
    await untilCause('frail', 'DiskFailing');
    expect(await azekura.refusal('volume', 'create', 'x', '--size', '16Mi', '--block', '--pool', 'frail')).toContain(
      'it is not ready',
    );
    await works('main');
    await disk.pull();
    await works('main');
    expect(await codes('frail')).not.toEqual([]);
  });

  it('was one of two copies goes on, degraded', async () => {
    await azekura.run('pool', 'add', 'twin', '/dev/nbd1', '/dev/nbd2', '--engine', 'lvm', '--layout', 'raid1');
    await azekura.run('volume', 'create', 'safe', '--size', '64Mi', '--pool', 'twin');
    await azekura.run('volume', 'mount', 'safe', '/mnt/safe');
    await machine.sh('echo kept >/mnt/safe/file; sync');
    await machine.disk('/dev/nbd2').fail();
    await machine.sh('echo more >>/mnt/safe/file; sync -f /mnt/safe/file', { deadlineMs: 120_000 });
    await eventually(
      async () => {
        const seen = await codes('twin');
        expect(seen.some((code) => code === 'PoolDegraded' || code === 'PoolDiskMissing')).toBe(true);
      },
      120_000,
      1_000,
    );
    expect(await machine.sh('cat /mnt/safe/file')).toBe('kept\nmore');
    await machine.disk('/dev/nbd2').mend();
  });
});
