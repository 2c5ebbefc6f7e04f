import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { type Lab, type Machine, startMachines } from '../../lab/machines/index.ts';
import { eventually } from '../../lab/workbench.ts';
import type { Volume } from '../../src/model/kinds.ts';
import { bundle } from './bundle.ts';

/*
 * Encryption at rest as a person meets it, on a kernel with device-mapper: a pool of files on /dev/ubda, a volume group on
 * /dev/ubdb. Keys lie in the machine's memory, and come again after a power cut.
 */
const dataDir = '/data/state';
const marker = `plain-${randomBytes(12).toString('hex')}`;
const keys = Object.fromEntries(
  ['one', 'two', 'three', 'wrong'].map((name) => [name, randomBytes(36).toString('base64')]),
) as Record<'one' | 'two' | 'three' | 'wrong', string>;

let lab: Lab;
let machine: Machine;
let daemon: ReturnType<Machine['start']> | undefined;

const azekura = async (...words: readonly string[]) =>
  (await machine.exec(['azekura', '--data-dir', dataDir, ...words], { deadlineMs: 120_000 })).stdout;
const failing = async (...words: readonly string[]) => {
  const { exitCode, stderr } = await machine.run(['azekura', '--data-dir', dataDir, '--timeout', '30s', ...words], {
    deadlineMs: 120_000,
  });
  expect(exitCode).not.toBe(0);
  return stderr;
};
const why = async (name: string) =>
  (await machine.run(['azekura', '--data-dir', dataDir, 'why', name], { deadlineMs: 120_000 })).stdout;
const show = async <T>(kind: string, name: string) => JSON.parse(await azekura(kind, 'show', name, '-o', 'json')) as T;
const idOf = async (name: string) => (await show<Volume>('volume', name)).status.volumeId ?? '';
const mapping = async (name: string) => `azk-luks-${await idOf(name)}`;
const dataOf = async (name: string) => `/data/pool/volumes/${await idOf(name)}`;

/** Whether a key opens what is stored, by cryptsetup alone. */
async function opens(device: string, key: string): Promise<boolean> {
  const argv = ['cryptsetup', 'open', '--test-passphrase', '--key-file', '-', device];
  return (await machine.run(argv, { input: key })).exitCode === 0;
}

/** Starts Azekura, and waits until it answers. */
async function up(): Promise<void> {
  await machine.sh('mkdir -p /data /run/keys; mountpoint -q /data || mount /dev/ubda /data');
  for (const [name, key] of Object.entries(keys))
    await machine.exec(['sh', '-c', 'umask 377; rm -f "$1"; cat >"$1"', '-', `/run/keys/${name}`], { input: key });
  daemon = machine.start(['sh', '-c', `exec azekura up --data-dir ${dataDir} --no-pool >>/data/log 2>&1`]);
  await eventually(() => azekura('status'), 60_000, 500);
}

/** Ends it: by SIGTERM, or at once. */
async function down(signal: 'TERM' | 'KILL'): Promise<void> {
  const ended = new Promise((resolve) => daemon?.once('close', resolve));
  await machine.sh(`kill -${signal} $(pgrep -f 'up --data-di[r]')`);
  await ended;
}

beforeAll(async () => {
  ensureBuilt();
  lab = await startMachines({ memory: '640M', disks: ['4G', '3G'] });
  machine = lab.machine(1);
  await machine.sh('mkfs.xfs -q /dev/ubda; mkdir -p /data; mount /dev/ubda /data; mkdir /data/pool');
  await up();
  await azekura('pool', 'add', 'main', '/data/pool');
});
afterAll(() => lab.down());

describe('an encrypted volume', () => {
  it('is as large as was asked for, and holds what is written to it', async () => {
    await azekura('volume', 'create', 'db', '--size', '64Mi', '--filesystem', 'ext4', '--key-file', '/run/keys/one');
    await azekura('volume', 'mount', 'db', '/mnt/db');
    await machine.sh(`for i in $(seq 200); do echo ${marker} >/mnt/db/$i; done; sync`);
    const device = `/dev/mapper/${await mapping('db')}`;
    expect(await machine.sh(`blockdev --getsize64 ${device}`)).toBe(String(64 * 2 ** 20));
    expect(await machine.sh(`cryptsetup status ${await mapping('db')}`)).toMatch(
      /type:\s+LUKS2[\s\S]*flags:\s+discards/,
    );
    expect(await azekura('volume', 'show', 'db')).toMatch(/luks: azk-luks-\w+ → \/dev\/dm-\d+/);
  });

  it('leaves nothing readable on the disk, where a plain one leaves all', async () => {
    await azekura('volume', 'create', 'plain', '--size', '64Mi', '--filesystem', 'ext4');
    await azekura('volume', 'mount', 'plain', '/mnt/plain');
    await machine.sh(`echo ${marker} >/mnt/plain/f; sync; sync -f /data`);
    expect(await machine.sh(`grep -l -a ${marker} /data/pool/volumes/*/data`)).toBe(`${await dataOf('plain')}/data`);
  });

  it.each(['TERM', 'KILL'] as const)('goes on while Azekura ends (%s) and starts again', async (signal) => {
    const writer = machine.start([
      'sh',
      '-c',
      'for i in $(seq 1000); do echo $i >>/mnt/db/log && sync /mnt/db/log && sleep 0.02 || exit 1; done',
    ]);
    const before = await machine.sh(`dmsetup info -c --noheadings -o minor,open,events ${await mapping('db')}`);
    await down(signal);
    await up();
    // Asked for again, it is looked at, and left as it is.
    await eventually(() => azekura('volume', 'mount', 'db', '/mnt/db'), 60_000, 500);
    expect(await machine.sh(`dmsetup info -c --noheadings -o minor,open,events ${await mapping('db')}`)).toBe(before);
    expect(writer.exitCode).toBeNull();
    writer.kill();
    await machine.sh("pkill -f 'seq 100[0]' || true; tail -1 /mnt/db/log");
  });

  it('grows while it is mounted, without its key', async () => {
    await machine.sh('mv /run/keys/one /run/keys/away');
    await azekura('volume', 'expand', 'db', '--size', '128Mi');
    expect(await machine.sh(`blockdev --getsize64 /dev/mapper/${await mapping('db')}`)).toBe(String(128 * 2 ** 20));
    expect(Number(await machine.sh('stat -f -c %b /mnt/db'))).toBeGreaterThan(25_000);
    expect(await machine.sh('cat /mnt/db/1')).toBe(marker);
    await machine.sh('mv /run/keys/away /run/keys/one');
  });

  it('comes back by itself after a power cut, when its key file is there', async () => {
    await machine.sh('sync -f /mnt/db; sync -f /data');
    await machine.powerCut();
    await machine.boot();
    await up();
    await eventually(async () => expect(await machine.sh('cat /mnt/db/1')).toBe(marker), 60_000, 500);
  });
});

describe('its key', () => {
  it('is named when it is missing, too short or wrong, at once; then the volume comes up', async () => {
    await azekura('volume', 'umount', 'db');
    await machine.sh('mv /run/keys/one /run/keys/away');
    expect(await failing('volume', 'mount', 'db', '/mnt/db')).toContain('there is no file /run/keys/one on node n1');
    expect(await why('db')).toContain('EncryptionKeyMissing');
    expect(
      await machine.sh('dmsetup ls --target crypt; losetup --noheadings -O BACK-FILE | grep -v plain || true'),
    ).not.toContain(await idOf('db'));
    await machine.sh('printf short >/run/keys/one');
    expect(await failing('volume', 'mount', 'db', '/mnt/db')).toContain('has 5 bytes');
    await machine.sh('rm /run/keys/one; cp /run/keys/wrong /run/keys/one; chmod 440 /run/keys/one');
    expect(await failing('volume', 'mount', 'db', '/mnt/db')).toContain('its mode is 440, and 400 is right');
    await machine.sh('chmod 400 /run/keys/one');
    expect(await failing('volume', 'mount', 'db', '/mnt/db')).toContain('does not open it');
    expect(await why('db')).toContain('EncryptionKeyWrong');
    await machine.sh('mv /run/keys/away /run/keys/one');
    await azekura('volume', 'mount', 'db', '/mnt/db');
    expect(await machine.sh('cat /mnt/db/1')).toBe(marker);
  });

  it('changes while the volume is mounted; snapshots of before open with the new one', async () => {
    await azekura('snapshot', 'create', 'db', 'before');
    const data = `${await dataOf('db')}/data`;
    const keepOpen = machine.start(['sh', '-c', 'exec 9<>/mnt/db/log; sleep 600']);
    expect(await azekura('volume', 'rotate-key', 'db', '--new-key-file', '/run/keys/two')).toContain(
      'the present key opens it; the one before does not any more',
    );
    expect([await opens(data, keys.one), await opens(data, keys.two)]).toEqual([false, true]);
    const header = `${await dataOf('db')}/luks-header`;
    expect([await opens(header, keys.one), await opens(header, keys.two)]).toEqual([false, true]);
    expect((await show<Volume>('volume', 'db')).spec.policy.encryptionKeyFile).toBe('/run/keys/two');
    expect(await machine.sh('cat /mnt/db/1; echo on >/mnt/db/on; cat /mnt/db/on')).toBe(`${marker}\non`);
    keepOpen.kill();
    await machine.sh('pkill -f "sleep 60[0]" || true; rm /run/keys/one');

    await azekura(
      'volume',
      'create',
      'copy',
      '--from-snapshot',
      'before',
      '--key-file',
      '/run/keys/two',
      '--filesystem',
      'ext4',
    );
    await azekura('volume', 'mount', 'copy', '/mnt/copy');
    expect(await machine.sh('cat /mnt/copy/1; ls /mnt/copy/on || true')).toBe(marker);
    const uuids = await machine.sh(
      `for f in /data/pool/volumes/*/data; do cryptsetup luksUUID $f || true; done 2>/dev/null | sort | uniq -d`,
    );
    expect(uuids).toBe('');
    await azekura('volume', 'umount', 'copy');

    await azekura('volume', 'umount', 'db');
    await azekura('volume', 'restore', 'db', 'before');
    await azekura('volume', 'mount', 'db', '/mnt/db');
    expect(await machine.sh('cat /mnt/db/1; ls /mnt/db/on || true')).toBe(marker);
  });

  it('changes while the volume is not attached, and says when no key is right', async () => {
    await azekura('volume', 'umount', 'db');
    expect(
      await failing('volume', 'rotate-key', 'db', '--new-key-file', '/run/keys/three', '--key-file', '/run/keys/wrong'),
    ).toContain('does not open it');
    await azekura('volume', 'rotate-key', 'db', '--new-key-file', '/run/keys/three', '--key-file', '/run/keys/two');
    const data = `${await dataOf('db')}/data`;
    expect([await opens(data, keys.two), await opens(data, keys.three)]).toEqual([false, true]);
    await azekura('volume', 'mount', 'db', '/mnt/db');
    expect(await machine.sh('cat /mnt/db/1')).toBe(marker);
  });

  it('is in no command line, environment, log, object or file of the pool', async () => {
    const watch = machine.start([
      'sh',
      '-c',
      'while :; do for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline; echo; tr "\\0" "\\n" <$p/environ; done >>/run/seen 2>/dev/null; done',
    ]);
    // Until it has been seen at its work: a command that opens a volume may be over between two looks.
    const seenOpening = async () => (await machine.run(['grep', '-q', 'cryptsetup open', '/run/seen'])).exitCode === 0;
    for (let round = 0; round < 2 || (round < 30 && !(await seenOpening())); round++) {
      await azekura('volume', 'umount', 'db');
      await azekura('volume', 'mount', 'db', '/mnt/db');
    }
    watch.kill();
    await machine.sh(
      `pkill -f 'cmdlin[e]' || true; azekura --data-dir ${dataDir} support-bundle -o /data/bundle.tar; sync -f /data`,
    );
    expect(await seenOpening()).toBe(true);
    for (const key of Object.values(keys)) {
      await machine.exec(['tee', '/run/pattern'], { input: key });
      expect(await machine.sh('grep -l -a -F -f /run/pattern -r /run/seen /data || true')).toBe('');
    }
    // The same look finds what is there.
    await machine.sh('grep -q -a -F -f /run/pattern /run/keys/wrong');
  }, 180_000);
});

describe('a key that comes with requests, as from a Secret', () => {
  const csi = async (verb: 'use' | 'leave', secrets: Readonly<Record<string, string>> = {}) => {
    const argv = ['node', '/shared/csi-keys.mjs', `${dataDir}/csi/csi.sock`, verb, 'secret'];
    return machine.run(argv, { input: JSON.stringify(secrets), deadlineMs: 120_000 });
  };

  it('is not needed before the volume is staged; a wrong one is named, and it changes with the one before beside it', async () => {
    await bundle('csi-keys.ts', lab.shared);
    const without = await csi('use');
    expect(without.stderr).toContain('no key came with a request to stage it');
    expect((await csi('use', { key: keys.one })).stderr).toBe('');
    await machine.sh(`echo ${marker} >/run/csi/secret/mount/f; sync`);
    expect((await csi('leave')).stderr).toBe('');
    expect(await machine.sh('dmsetup ls --target crypt')).not.toContain(await idOf('secret'));
    expect((await csi('use', { key: keys.wrong })).stderr).toContain('does not open it');
    expect((await csi('use', { key: keys.two, previousKey: keys.one })).stderr).toBe('');
    expect(await machine.sh('cat /run/csi/secret/mount/f')).toBe(marker);
    expect((await csi('leave')).stderr).toBe('');
    const data = `${await dataOf('secret')}/data`;
    expect([await opens(data, keys.one), await opens(data, keys.two)]).toEqual([false, true]);
    expect((await csi('use', { key: keys.two })).stderr).toBe('');
    expect((await csi('leave')).stderr).toBe('');
  });
});

describe('its header', () => {
  it('is put back by the documented command when it is damaged', async () => {
    await azekura('volume', 'umount', 'db');
    const folder = await dataOf('db');
    await machine.sh(`dd if=/dev/urandom of=${folder}/data bs=1M count=4 conv=notrunc status=none`);
    expect(await failing('volume', 'mount', 'db', '/mnt/db')).toContain(
      'encryption header of volume db cannot be read',
    );
    expect(await why('db')).toContain('EncryptionHeaderDamaged');
    await machine.sh(
      `cryptsetup luksHeaderRestore --batch-mode ${folder}/data --header-backup-file ${folder}/luks-header`,
    );
    await azekura('volume', 'mount', 'db', '/mnt/db');
    expect(await machine.sh('cat /mnt/db/1')).toBe(marker);
  });
});

describe('rescue', () => {
  const rescue = (...words: readonly string[]) => machine.run(['azekura', 'rescue', ...words], { deadlineMs: 120_000 });

  it('reads an encrypted volume with its key file, and says when there is none or a wrong one', async () => {
    await azekura('volume', 'umount', 'db');
    const key = (await show<Volume>('volume', 'db')).spec.policy.encryptionKeyFile ?? '';
    expect((await rescue('mount', '/data/pool', 'db', '/mnt/look')).stderr).toContain('no --key-file was given');
    const wrong = await rescue('mount', '/data/pool', 'db', '/mnt/look', '--key-file', '/run/keys/wrong');
    expect(wrong.stderr).toContain('does not open it');
    expect(await machine.sh('losetup --noheadings -O BACK-FILE; dmsetup ls')).not.toContain('rescue');
    const mounted = await rescue('mount', '/data/pool', 'db', '/mnt/look', '--key-file', key);
    expect(mounted.stderr).toBe('');
    expect(await machine.sh('cat /mnt/look/1')).toBe(marker);
    expect((await rescue('umount', '/mnt/look')).exitCode).toBe(0);
    expect(await machine.sh('dmsetup ls')).not.toContain('rescue');
    expect((await rescue('export', '/data/pool', 'db', '/data/db.img', '--key-file', key)).stderr).toBe('');
    await machine.sh('mkdir -p /mnt/img; mount -o loop,ro,noload /data/db.img /mnt/img');
    expect(await machine.sh('cat /mnt/img/1; umount /mnt/img; rm /data/db.img')).toBe(marker);
  });
});

describe('a raw block volume', () => {
  it('is encrypted as well, and read-only where it is asked for', async () => {
    await azekura(
      'volume',
      'create',
      'raw',
      '--size',
      '32Mi',
      '--block',
      '--key-file',
      '/run/keys/three',
      '--no-discard',
    );
    expect(await failing('volume', 'mount', 'raw', '/run/raw', '--read-only')).toContain('has never been written to');
    await azekura('volume', 'umount', 'raw');
    await azekura('volume', 'mount', 'raw', '/run/raw');
    await machine.sh(`echo ${marker} | dd of=/run/raw conv=notrunc status=none; sync`);
    expect(await machine.sh(`cryptsetup status ${await mapping('raw')}`)).not.toContain('discards');
    await azekura('volume', 'umount', 'raw');
    await azekura('volume', 'mount', 'raw', '/run/raw', '--read-only');
    expect(await machine.sh(`head -c ${marker.length} /run/raw`)).toBe(marker);
    expect(await machine.sh('echo x | dd of=/run/raw conv=notrunc 2>&1 || true')).toContain('not permitted');
    await azekura('volume', 'umount', 'raw');
    expect(Number(await machine.sh(`grep -c -a ${marker} ${await dataOf('raw')}/data || true`))).toBe(0);
  });
});

describe('above the engine lvm', () => {
  it('does the same: made, grown, cut, cloned, and with another key', async () => {
    await azekura('pool', 'add', 'vg', '/dev/ubdb', '--engine', 'lvm');
    await azekura(
      'class',
      'create',
      'sealed',
      '--engine',
      'lvm',
      '--encryption',
      'luks2',
      '--key-file',
      '/run/keys/two',
      '--filesystem',
      'ext4',
    );
    await azekura('volume', 'create', 'lv', '--size', '64Mi', '--class', 'sealed');
    await azekura('volume', 'mount', 'lv', '/mnt/lv');
    await machine.sh(`echo ${marker} >/mnt/lv/f; sync`);
    await azekura('volume', 'expand', 'lv', '--size', '96Mi');
    expect(await machine.sh(`blockdev --getsize64 /dev/mapper/${await mapping('lv')}`)).toBe(String(96 * 2 ** 20));
    await azekura('snapshot', 'create', 'lv', 'lv-before');
    await azekura('volume', 'rotate-key', 'lv', '--new-key-file', '/run/keys/three');
    await azekura('volume', 'create', 'lv-copy', '--from-snapshot', 'lv-before', '--class', 'sealed');
    await machine.sh('cp /run/keys/three /run/keys/two');
    await azekura('volume', 'mount', 'lv-copy', '/mnt/lv-copy');
    expect(await machine.sh('cat /mnt/lv/f /mnt/lv-copy/f')).toBe(`${marker}\n${marker}`);
    const below = `$(cryptsetup status ${await mapping('lv')} | sed -n 's/ *device: *//p')`;
    expect(await machine.sh(`sync; grep -c -a ${marker} /dev/mapper/${await mapping('lv')}`)).not.toBe('0');
    expect(await machine.sh(`grep -c -a ${marker} ${below} || true`)).toBe('0');
    for (const name of ['lv', 'lv-copy']) await azekura('volume', 'umount', name);
    expect(await machine.sh('dmsetup ls --target crypt')).not.toContain(await idOf('lv'));
  });
});

describe('what cannot be', () => {
  it.each([
    [['create', 'x', '--size', '64Mi', '--no-discard'], 'no encryption'],
    [['create', 'x', '--from-snapshot', 'before'], 'has encryption luks2'],
    [['rotate-key', 'plain', '--new-key-file', '/run/keys/two'], 'is not encrypted'],
    [['rotate-key', 'db', '--new-key-file', '/run/keys/three'], 'both in /run/keys/three'],
  ])('volume %j: %s', async (words, message) => {
    expect(await failing('volume', ...words)).toContain(message);
  });
});
