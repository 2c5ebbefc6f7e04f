import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../lib/fake-clock.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { ExecError } from '../exec.ts';
import type { ExecOptions } from '../host.ts';
import { addKeyArgv, formatArgv, openArgv, removeKeyArgv, slotOf, testArgv, volumeKeyOf } from './argv.ts';
import { findMapping, mappingName, standsOn } from './mapping.ts';
import { classifyLuksFailure, type LuksKey, placeOfKey, runCryptsetup } from './run.ts';

const secret = 'the-very-secret-key-0123456789';
const bytes: LuksKey = { bytes: Buffer.from(secret) };

describe('commands of cryptsetup', () => {
  it('hold the place of a key and never the key', () => {
    const { place, input } = placeOfKey(bytes);
    const all = [
      formatArgv('/dev/loop0', 'uuid', place),
      openArgv('/dev/loop0', 'name', place, { readOnly: false, discards: true }),
      testArgv('/dev/loop0', place),
      addKeyArgv('/dev/loop0', place, place),
      removeKeyArgv('/dev/loop0', place),
    ];
    for (const argv of all) expect(argv.join(' ')).not.toContain(secret);
    expect(Buffer.from(input).toString()).toBe(secret);
    expect(testArgv('/dev/loop0', place)).toEqual(
      expect.arrayContaining(['--key-file', '-', '--keyfile-size', String(secret.length)]),
    );
  });

  it('have cryptsetup read key files itself', () => {
    const { place, input } = placeOfKey({ file: '/keys/one' });
    expect(input).toHaveLength(0);
    expect(openArgv('/dev/loop0', 'name', place, { readOnly: true, discards: false })).toEqual([
      'open',
      '--type',
      'luks2',
      '--disable-keyring',
      '--readonly',
      '--key-file',
      '/keys/one',
      '/dev/loop0',
      'name',
    ]);
    expect(addKeyArgv('/dev/loop0', place, { file: '/keys/two' }).slice(-4)).toEqual([
      '--key-file',
      '/keys/one',
      '/dev/loop0',
      '/keys/two',
    ]);
  });

  it('tell the slot that a key opens', () => {
    expect(slotOf('No usable token is available.\nKey slot 12 unlocked.\nCommand successful.\n')).toBe(12);
    expect(slotOf('Command successful.\n')).toBeUndefined();
  });
});

it('knows the same volume key whatever slots hold it, and another one', () => {
  const metadata = (keyslots: readonly string[], digest: string) =>
    JSON.stringify({
      keyslots: {},
      digests: {
        '0': { type: 'pbkdf2', keyslots, segments: ['0'], salt: 'c2FsdA==', digest, hash: 'sha256', iterations: 1000 },
      },
    });
  expect(volumeKeyOf(metadata(['0'], 'b25l'))).toBe(volumeKeyOf(metadata(['1', '2'], 'b25l')));
  expect(volumeKeyOf(metadata(['0'], 'b25l'))).not.toBe(volumeKeyOf(metadata(['0'], 'dHdv')));
});

describe('failures of cryptsetup 2.6', () => {
  it.each([
    [2, 'No key available with this passphrase.', 'no-key'],
    [1, 'Failed to open key file.', 'no-key-file'],
    [1, 'Device /dev/loop0 is not a valid LUKS device.', 'no-header'],
    [5, 'Device azk-luks-x is still in use.', 'busy'],
    [5, 'Device azk-luks-x already exists.', 'busy'],
    [3, 'Not enough available memory to open a keyslot.', 'memory'],
    [1, 'Cannot initialize device-mapper. Is dm_mod kernel module loaded?', 'no-kernel'],
    [1, 'device-mapper: reload ioctl on azk-luks-x (254:1) failed: Device or resource busy', 'busy'],
    [4, 'Device /dev/loop0 does not exist or access denied.', 'other'],
  ])('exit code %i, %s: %s', (exitCode, stderr, failure) => {
    expect(classifyLuksFailure(exitCode, stderr)).toBe(failure);
  });

  const failing = (exitCode: number, stderr: string) => ({
    locks: new KeyedLock(),
    host: {
      exec: async (argv: readonly [string, ...string[]]) => {
        throw new ExecError('HostFailure', 'failed', { argv, exitCode, stderr });
      },
    },
  });

  it.each([
    [1, 'Failed to open key file.', 'EncryptionKeyMissing'],
    [1, 'Device /dev/loop0 is not a valid LUKS device.', 'EncryptionHeaderDamaged'],
    [1, 'Cannot initialize device-mapper. Is dm_mod kernel module loaded?', 'EncryptionUnsupported'],
  ])('exit code %i, %s: cause %s', async (exitCode, stderr, code) => {
    const run = runCryptsetup(failing(exitCode, stderr), ['close', 'x'], { volume: 'db', domain: 'volume/x' });
    await expect(run).rejects.toMatchObject({ code: 'FailedPrecondition', blame: { code } });
  });

  it('leave the key out of every error', async () => {
    const run = runCryptsetup(
      failing(1, 'something else'),
      ['open', 'x'],
      { volume: 'db', domain: 'volume/x' },
      { input: Buffer.from(secret), derives: true },
    );
    const error: unknown = await run.catch((thrown: unknown) => thrown);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(secret);
  });
});

it('derives one key at a time', async () => {
  let running = 0;
  let most = 0;
  const host = {
    exec: async (_: readonly [string, ...string[]], options?: ExecOptions) => {
      expect(options?.input).toBeDefined();
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 2));
      running--;
      return { exitCode: 0, stdout: '', stderr: '' };
    },
  };
  const deps = { host, locks: new KeyedLock(), clock: new FakeClock() };
  const call = { volume: 'db', domain: 'volume/x' };
  await Promise.all([1, 2, 3].map(() => runCryptsetup(deps, ['open'], call, { derives: true })));
  expect(most).toBe(1);
});

it('finds the mapping of a volume by its name, and what it stands on', async () => {
  const node = {
    name: 'dm-3',
    path: '/dev/dm-3',
    kind: 'mapped' as const,
    deviceNumber: '254:3',
    sizeBytes: 4096,
    readOnly: false,
    rotational: false,
    mapped: { name: mappingName('v1'), uuid: `CRYPT-LUKS2-0123-${mappingName('v1')}`, suspended: false },
    slaves: ['loop7'],
    holders: [],
  };
  const host = {
    blockNodes: async (options?: { readonly mapped?: (uuid: string) => boolean }) =>
      [node].filter(({ mapped }) => options?.mapped?.(mapped.uuid) ?? true),
  };
  const found = await findMapping(host, mappingName('v1'));
  expect(found && standsOn(found, '/dev/loop7')).toBe(true);
  expect(found && standsOn(found, '/dev/loop70')).toBe(false);
  expect(await findMapping(host, mappingName('v'))).toBeUndefined();
  expect(await findMapping(host, mappingName('1'))).toBeUndefined();
});
