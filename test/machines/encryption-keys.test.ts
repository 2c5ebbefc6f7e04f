import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Machine } from '../../lab/machines/index.ts';
import type { Volume } from '../../src/model/kinds.ts';
import { bundle } from './bundle.ts';
import { Sealed } from './sealed.ts';

/* Keys of encrypted volumes and what they open: missing, wrong, changed, from Secrets; headers; rescue. On a kernel with device-mapper. */
let sealed: Sealed;
let machine: Machine;
const azekura = (...words: readonly string[]) => sealed.azekura.run(...words);
const dataOf = async (name: string) => `/data/pool/volumes/${await sealed.idOf(name)}`;

beforeAll(async () => {
  sealed = await Sealed.start();
  ({ machine } = sealed);
  await azekura('volume', 'create', 'db', '--size', '64Mi', '--filesystem', 'ext4', '--key-file', '/run/keys/one');
  await azekura('volume', 'mount', 'db', '/mnt/db');
  await machine.sh(`echo ${sealed.marker} >/mnt/db/1; sync`);
});
afterAll(() => sealed.lab.down());

describe('its key', () => {
  it('is named when it is missing, too short or wrong, at once; then the volume comes up', async () => {
    await azekura('volume', 'umount', 'db');
    await machine.sh('mv /run/keys/one /run/keys/away');
    expect(await sealed.refusal('volume', 'mount', 'db', '/mnt/db')).toContain(
      'there is no file /run/keys/one on node n1',
    );
    expect(await sealed.why('db')).toContain('EncryptionKeyMissing');
    expect(
      await machine.sh('dmsetup ls --target crypt; losetup --noheadings -O BACK-FILE | grep -v plain || true'),
    ).not.toContain(await sealed.idOf('db'));
    await machine.sh('printf short >/run/keys/one');
    expect(await sealed.refusal('volume', 'mount', 'db', '/mnt/db')).toContain('has 5 bytes');
    await machine.sh('rm /run/keys/one; cp /run/keys/wrong /run/keys/one; chmod 440 /run/keys/one');
    expect(await sealed.refusal('volume', 'mount', 'db', '/mnt/db')).toContain('its mode is 440, and 400 is right');
    await machine.sh('chmod 400 /run/keys/one');
    expect(await sealed.refusal('volume', 'mount', 'db', '/mnt/db')).toContain('does not open it');
    expect(await sealed.why('db')).toContain('EncryptionKeyWrong');
    await machine.sh('mv /run/keys/away /run/keys/one');
    await azekura('volume', 'mount', 'db', '/mnt/db');
    expect(await machine.sh('cat /mnt/db/1')).toBe(sealed.marker);
  });

  it('changes while the volume is mounted; snapshots of before open with the new one', async () => {
    await azekura('snapshot', 'create', 'db', 'before');
    const data = `${await dataOf('db')}/data`;
    const keepOpen = machine.start(['sh', '-c', 'exec 9<>/mnt/db/log; sleep 600']);
    expect(await azekura('volume', 'rotate-key', 'db', '--new-key-file', '/run/keys/two')).toContain(
      'the present key opens it; the one before does not any more',
    );
    expect([await sealed.opens(data, 'one'), await sealed.opens(data, 'two')]).toEqual([false, true]);
    const header = `${await dataOf('db')}/luks-header`;
    expect([await sealed.opens(header, 'one'), await sealed.opens(header, 'two')]).toEqual([false, true]);
    expect((await sealed.azekura.json<Volume>('volume', 'show', 'db')).spec.policy.encryptionKeyFile).toBe(
      '/run/keys/two',
    );
    expect(await machine.sh('cat /mnt/db/1; echo on >/mnt/db/on; cat /mnt/db/on')).toBe(`${sealed.marker}\non`);
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
    expect(await machine.sh('cat /mnt/copy/1; ls /mnt/copy/on || true')).toBe(sealed.marker);
    const uuids = await machine.sh(
      `for f in /data/pool/volumes/*/data; do cryptsetup luksUUID $f || true; done 2>/dev/null | sort | uniq -d`,
    );
    expect(uuids).toBe('');
    await azekura('volume', 'umount', 'copy');

    await azekura('volume', 'umount', 'db');
    await azekura('volume', 'restore', 'db', 'before');
    await azekura('volume', 'mount', 'db', '/mnt/db');
    expect(await machine.sh('cat /mnt/db/1; ls /mnt/db/on || true')).toBe(sealed.marker);
  });

  it('changes while the volume is not attached, and says when no key is right', async () => {
    await azekura('volume', 'umount', 'db');
    expect(
      await sealed.refusal(
        'volume',
        'rotate-key',
        'db',
        '--new-key-file',
        '/run/keys/three',
        '--key-file',
        '/run/keys/wrong',
      ),
    ).toContain('does not open it');
    await azekura('volume', 'rotate-key', 'db', '--new-key-file', '/run/keys/three', '--key-file', '/run/keys/two');
    const data = `${await dataOf('db')}/data`;
    expect([await sealed.opens(data, 'two'), await sealed.opens(data, 'three')]).toEqual([false, true]);
    await azekura('volume', 'mount', 'db', '/mnt/db');
    expect(await machine.sh('cat /mnt/db/1')).toBe(sealed.marker);
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
      `pkill -f 'cmdlin[e]' || true; azekura --data-dir ${sealed.dataDir} support-bundle -o /data/bundle.tar; sync -f /data`,
    );
    expect(await seenOpening()).toBe(true);
    for (const key of Object.values(sealed.keys)) {
      await machine.exec(['tee', '/run/pattern'], { input: key });
      expect(await machine.sh('grep -l -a -F -f /run/pattern -r /run/seen /data || true')).toBe('');
    }
    // The same look finds what is there.
    await machine.sh('grep -q -a -F -f /run/pattern /run/keys/wrong');
  }, 180_000);
});

describe('a key that comes with requests, as from a Secret', () => {
  const csi = async (verb: 'use' | 'leave', secrets: Readonly<Record<string, string>> = {}) => {
    const argv = ['node', '/shared/csi-keys.mjs', `${sealed.dataDir}/csi/csi.sock`, verb, 'secret'];
    return machine.run(argv, { input: JSON.stringify(secrets), deadlineMs: 120_000 });
  };

  it('is not needed before the volume is staged; a wrong one is named, and it changes with the one before beside it', async () => {
    await bundle('csi-keys.ts', sealed.lab.shared);
    const without = await csi('use');
    expect(without.stderr).toContain('no key came with a request to stage it');
    expect((await csi('use', { key: sealed.keys.one })).stderr).toBe('');
    await machine.sh(`echo ${sealed.marker} >/run/csi/secret/mount/f; sync`);
    expect((await csi('leave')).stderr).toBe('');
    expect(await machine.sh('dmsetup ls --target crypt')).not.toContain(await sealed.idOf('secret'));
    expect((await csi('use', { key: sealed.keys.wrong })).stderr).toContain('does not open it');
    expect((await csi('use', { key: sealed.keys.two, previousKey: sealed.keys.one })).stderr).toBe('');
    expect(await machine.sh('cat /run/csi/secret/mount/f')).toBe(sealed.marker);
    expect((await csi('leave')).stderr).toBe('');
    const data = `${await dataOf('secret')}/data`;
    expect([await sealed.opens(data, 'one'), await sealed.opens(data, 'two')]).toEqual([false, true]);
    expect((await csi('use', { key: sealed.keys.two })).stderr).toBe('');
    expect((await csi('leave')).stderr).toBe('');
  });
});

describe('its header', () => {
  it('is put back by the documented command when it is damaged', async () => {
    await azekura('volume', 'umount', 'db');
    const folder = await dataOf('db');
    await machine.sh(`dd if=/dev/urandom of=${folder}/data bs=1M count=4 conv=notrunc status=none`);
    expect(await sealed.refusal('volume', 'mount', 'db', '/mnt/db')).toContain(
      'encryption header of volume db cannot be read',
    );
    expect(await sealed.why('db')).toContain('EncryptionHeaderDamaged');
    await machine.sh(
      `cryptsetup luksHeaderRestore --batch-mode ${folder}/data --header-backup-file ${folder}/luks-header`,
    );
    await azekura('volume', 'mount', 'db', '/mnt/db');
    expect(await machine.sh('cat /mnt/db/1')).toBe(sealed.marker);
  });
});

describe('rescue', () => {
  const rescue = (...words: readonly string[]) => machine.run(['azekura', 'rescue', ...words], { deadlineMs: 120_000 });

  it('reads an encrypted volume with its key file, and says when there is none or a wrong one', async () => {
    await azekura('volume', 'umount', 'db');
    const key = (await sealed.azekura.json<Volume>('volume', 'show', 'db')).spec.policy.encryptionKeyFile ?? '';
    expect((await rescue('mount', '/data/pool', 'db', '/mnt/look')).stderr).toContain('no --key-file was given');
    const wrong = await rescue('mount', '/data/pool', 'db', '/mnt/look', '--key-file', '/run/keys/wrong');
    expect(wrong.stderr).toContain('does not open it');
    expect(await machine.sh('losetup --noheadings -O BACK-FILE; dmsetup ls')).not.toContain('rescue');
    const mounted = await rescue('mount', '/data/pool', 'db', '/mnt/look', '--key-file', key);
    expect(mounted.stderr).toBe('');
    expect(await machine.sh('cat /mnt/look/1')).toBe(sealed.marker);
    expect((await rescue('umount', '/mnt/look')).exitCode).toBe(0);
    expect(await machine.sh('dmsetup ls')).not.toContain('rescue');
    expect((await rescue('export', '/data/pool', 'db', '/data/db.img', '--key-file', key)).stderr).toBe('');
    await machine.sh('mkdir -p /mnt/img; mount -o loop,ro,noload /data/db.img /mnt/img');
    expect(await machine.sh('cat /mnt/img/1; umount /mnt/img; rm /data/db.img')).toBe(sealed.marker);
  });
});
