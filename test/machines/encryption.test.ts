import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Machine } from '../../lab/machines/index.ts';
import { eventually } from '../../lab/workbench.ts';
import { Sealed } from './sealed.ts';

/* Encryption at rest as a person meets it, on a kernel with device-mapper: volumes in a pool of files, and in a volume group. */
let sealed: Sealed;
let machine: Machine;
const azekura = (...words: readonly string[]) => sealed.azekura.run(...words);
const dataOf = async (name: string) => `/data/pool/volumes/${await sealed.idOf(name)}`;

beforeAll(async () => {
  sealed = await Sealed.start('3G');
  ({ machine } = sealed);
});
afterAll(() => sealed.lab.down());

describe('an encrypted volume', () => {
  it('is as large as was asked for, and holds what is written to it', async () => {
    await azekura('volume', 'create', 'db', '--size', '64Mi', '--filesystem', 'ext4', '--key-file', '/run/keys/one');
    await azekura('volume', 'mount', 'db', '/mnt/db');
    await machine.sh(`for i in $(seq 200); do echo ${sealed.marker} >/mnt/db/$i; done; sync`);
    const device = `/dev/mapper/${await sealed.mapping('db')}`;
    expect(await machine.sh(`blockdev --getsize64 ${device}`)).toBe(String(64 * 2 ** 20));
    expect(await machine.sh(`cryptsetup status ${await sealed.mapping('db')}`)).toMatch(
      /type:\s+LUKS2[\s\S]*flags:\s+discards/,
    );
    expect(await azekura('volume', 'show', 'db')).toMatch(/luks: azk-luks-\w+ → \/dev\/dm-\d+/);
  });

  it('leaves nothing readable on the disk, where a plain one leaves all', async () => {
    await azekura('volume', 'create', 'plain', '--size', '64Mi', '--filesystem', 'ext4');
    await azekura('volume', 'mount', 'plain', '/mnt/plain');
    await machine.sh(`echo ${sealed.marker} >/mnt/plain/f; sync; sync -f /data`);
    expect(await machine.sh(`grep -l -a ${sealed.marker} /data/pool/volumes/*/data`)).toBe(
      `${await dataOf('plain')}/data`,
    );
  });

  it.each(['TERM', 'KILL'] as const)('goes on while Azekura ends (%s) and starts again', async (signal) => {
    const writer = machine.start([
      'sh',
      '-c',
      'for i in $(seq 1000); do echo $i >>/mnt/db/log && sync /mnt/db/log && sleep 0.02 || exit 1; done',
    ]);
    const before = await machine.sh(`dmsetup info -c --noheadings -o minor,open,events ${await sealed.mapping('db')}`);
    await sealed.azekura.down(signal);
    await sealed.up();
    // Asked for again, it is looked at, and left as it is.
    await eventually(() => azekura('volume', 'mount', 'db', '/mnt/db'), 60_000, 500);
    expect(await machine.sh(`dmsetup info -c --noheadings -o minor,open,events ${await sealed.mapping('db')}`)).toBe(
      before,
    );
    expect(writer.exitCode).toBeNull();
    writer.kill();
    await machine.sh("pkill -f 'seq 100[0]' || true; tail -1 /mnt/db/log");
  });

  it('grows while it is mounted, without its key', async () => {
    await machine.sh('mv /run/keys/one /run/keys/away');
    await azekura('volume', 'expand', 'db', '--size', '128Mi');
    expect(await machine.sh(`blockdev --getsize64 /dev/mapper/${await sealed.mapping('db')}`)).toBe(
      String(128 * 2 ** 20),
    );
    expect(Number(await machine.sh('stat -f -c %b /mnt/db'))).toBeGreaterThan(25_000);
    expect(await machine.sh('cat /mnt/db/1')).toBe(sealed.marker);
    await machine.sh('mv /run/keys/away /run/keys/one');
  });

  it('comes back by itself after a power cut, when its key file is there', async () => {
    await machine.sh('sync -f /mnt/db; sync -f /data');
    await machine.powerCut();
    await machine.boot();
    await sealed.up();
    await eventually(async () => expect(await machine.sh('cat /mnt/db/1')).toBe(sealed.marker), 60_000, 500);
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
    expect(await sealed.refusal('volume', 'mount', 'raw', '/run/raw', '--read-only')).toContain(
      'has never been written to',
    );
    await azekura('volume', 'umount', 'raw');
    await azekura('volume', 'mount', 'raw', '/run/raw');
    await machine.sh(`echo ${sealed.marker} | dd of=/run/raw conv=notrunc status=none; sync`);
    expect(await machine.sh(`cryptsetup status ${await sealed.mapping('raw')}`)).not.toContain('discards');
    await azekura('volume', 'umount', 'raw');
    await azekura('volume', 'mount', 'raw', '/run/raw', '--read-only');
    expect(await machine.sh(`head -c ${sealed.marker.length} /run/raw`)).toBe(sealed.marker);
    expect(await machine.sh('echo x | dd of=/run/raw conv=notrunc 2>&1 || true')).toContain('not permitted');
    await azekura('volume', 'umount', 'raw');
    expect(Number(await machine.sh(`grep -c -a ${sealed.marker} ${await dataOf('raw')}/data || true`))).toBe(0);
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
    await machine.sh(`echo ${sealed.marker} >/mnt/lv/f; sync`);
    await azekura('volume', 'expand', 'lv', '--size', '96Mi');
    expect(await machine.sh(`blockdev --getsize64 /dev/mapper/${await sealed.mapping('lv')}`)).toBe(
      String(96 * 2 ** 20),
    );
    await azekura('snapshot', 'create', 'lv', 'lv-before');
    await azekura('volume', 'rotate-key', 'lv', '--new-key-file', '/run/keys/three');
    await azekura('volume', 'create', 'lv-copy', '--from-snapshot', 'lv-before', '--class', 'sealed');
    await machine.sh('cp /run/keys/three /run/keys/two');
    await azekura('volume', 'mount', 'lv-copy', '/mnt/lv-copy');
    expect(await machine.sh('cat /mnt/lv/f /mnt/lv-copy/f')).toBe(`${sealed.marker}\n${sealed.marker}`);
    const below = `$(cryptsetup status ${await sealed.mapping('lv')} | sed -n 's/ *device: *//p')`;
    expect(await machine.sh(`sync; grep -c -a ${sealed.marker} /dev/mapper/${await sealed.mapping('lv')}`)).not.toBe(
      '0',
    );
    expect(await machine.sh(`grep -c -a ${sealed.marker} ${below} || true`)).toBe('0');
    for (const name of ['lv', 'lv-copy']) await azekura('volume', 'umount', name);
    expect(await machine.sh('dmsetup ls --target crypt')).not.toContain(await sealed.idOf('lv'));
  });
});

describe('what cannot be', () => {
  beforeAll(() => azekura('snapshot', 'create', 'db', 'before'));

  it.each([
    [['create', 'x', '--size', '64Mi', '--no-discard'], 'no encryption'],
    [['create', 'x', '--from-snapshot', 'before'], 'has encryption luks2'],
    [['rotate-key', 'plain', '--new-key-file', '/run/keys/two'], 'is not encrypted'],
    [['rotate-key', 'db', '--new-key-file', '/run/keys/one'], 'both in /run/keys/one'],
  ])('volume %j: %s', async (words, message) => {
    expect(await sealed.refusal('volume', ...words)).toContain(message);
  });
});
