import { beforeEach, describe, expect, it } from 'vitest';
import { fakeNode } from '../../host/fake/tree.ts';
import { FakeHost } from '../../host/fake.ts';
import type { Replica } from '../../model/kinds.ts';
import { Policy } from '../../model/policy.ts';
import { KeyRing } from './key-ring.ts';
import { keysOf } from './keys.ts';

const longEnough = '0123456789abcdef';
const links = {
  link: '/keys/one',
  'to-link': '/keys/link',
  'to-open': '/keys/open-604',
  'to-nothing': '/keys/gone',
  'to-folder': '/keys',
  round: '/keys/round',
};

describe('keys that come with requests', () => {
  it('are there while the request lasts, the newest first, and overwritten afterwards', () => {
    const ring = new KeyRing();
    const given = Buffer.from(longEnough);
    const withdraw = ring.offer('v1', { key: given });
    const [held] = ring.keysOf('v1');
    expect(held).toEqual({ bytes: Uint8Array.from(given) });
    const second = ring.offer('v1', { key: Buffer.from(longEnough.toUpperCase()), previousKey: given });
    expect(ring.keysOf('v1')).toHaveLength(2);
    second();
    expect(ring.keysOf('v1')).toEqual([{ bytes: Uint8Array.from(given) }]);
    withdraw();
    withdraw();
    expect(ring.keysOf('v1')).toEqual([]);
    expect(ring.keysOf('v2')).toEqual([]);
    // What has been handed on stays what it was: cryptsetup may be reading it.
    expect(held).toEqual({ bytes: Uint8Array.from(given) });
  });

  it.each([0, 15, 4_097])('are refused with %i bytes', (length) => {
    const ring = new KeyRing();
    expect(() => ring.offer('v1', { key: new Uint8Array(length) })).toThrow(/16 to 4096 bytes/);
    expect(() => ring.offer('v1', { key: Buffer.from(longEnough), previousKey: new Uint8Array(length) })).toThrow();
    expect(ring.keysOf('v1')).toEqual([]);
  });
});

describe('the keys of a volume', () => {
  const host = new FakeHost();
  const keyRing = new KeyRing();
  const places = { host, keyRing, nodeName: 'here' };
  beforeEach(async () => {
    const kernel = host.kernel('test');
    await kernel.makeDirectory('/keys');
    for (const name of ['one', 'two']) await kernel.writeTextFile(`/keys/${name}`, longEnough);
    await kernel.writeTextFile('/keys/short', 'short');
    for (const permissions of [0o440, 0o604]) {
      const path = `/keys/open-${permissions.toString(8)}`;
      await kernel.writeTextFile(path, longEnough);
      host.machine.need(path, 'chmod').permissions = permissions;
    }
    for (const [name, text] of Object.entries(links))
      host.machine.add(`/keys/${name}`, fakeNode('symlink', { text }), 'symlink');
  });
  const replica = (policy: object, more: Partial<Replica['spec']> = {}, status: object = {}) =>
    ({
      spec: { volumeName: 'db', volumeId: 'v1', policy: Policy.parse({ encryption: 'luks2', ...policy }), ...more },
      status,
    }) as unknown as Replica;
  const change = { requestId: 'r1', keyFile: '/keys/two', previousKeyFile: '/keys/one' };

  it('are the file that the policy names', async () => {
    expect(await keysOf(places, replica({ encryptionKeyFile: '/keys/one' }))).toEqual([{ file: '/keys/one' }]);
  });

  it('are what a link leads to', async () => {
    expect(await keysOf(places, replica({ encryptionKeyFile: '/keys/link' }))).toEqual([{ file: '/keys/one' }]);
    const through = { ...change, keyFile: '/keys/link', previousKeyFile: '/keys/to-link' };
    const both = [{ file: '/keys/one' }, { file: '/keys/one' }];
    expect(await keysOf(places, replica({ encryptionKeyFile: '/keys/link' }, { changeKey: through }))).toEqual(both);
  });

  it('are what came with a request, before the file', async () => {
    const withdraw = keyRing.offer('v1', { key: Buffer.from(longEnough) });
    expect(await keysOf(places, replica({ encryptionKeyFile: '/keys/one' }))).toEqual([
      { bytes: Uint8Array.from(Buffer.from(longEnough)) },
    ]);
    withdraw();
  });

  it('are the new one and the one before while it is being changed', async () => {
    const policy = { encryptionKeyFile: '/keys/two' };
    const both = [{ file: '/keys/two' }, { file: '/keys/one' }];
    expect(await keysOf(places, replica(policy, { changeKey: change }))).toEqual(both);
    const done = { changeKey: { requestId: 'r1', outcome: '' } };
    expect(await keysOf(places, replica(policy, { changeKey: change }, done))).toEqual([{ file: '/keys/two' }]);
    const gone = { ...change, previousKeyFile: '/keys/gone' };
    expect(await keysOf(places, replica(policy, { changeKey: gone }))).toEqual([{ file: '/keys/two' }]);
  });

  it.each([
    [{}, 'it names no key file'],
    [{ encryptionKeyFile: '/keys/gone' }, 'there is no file /keys/gone on node here'],
    [{ encryptionKeyFile: '/keys' }, '/keys is not a file'],
    [{ encryptionKeyFile: '/keys/short' }, 'has 5 bytes'],
    [{ encryptionKeyFile: '/keys/open-440' }, "is not its owner's alone: its mode is 440"],
    [{ encryptionKeyFile: '/keys/to-open' }, "/keys/to-open, a link to /keys/open-604, is not its owner's alone"],
    [{ encryptionKeyFile: '/keys/to-nothing' }, 'there is no file /keys/to-nothing on node here'],
    [{ encryptionKeyFile: '/keys/to-folder' }, '/keys/to-folder, a link to /keys, is not a file'],
    [{ encryptionKeyFile: '/keys/round' }, '/keys/round cannot be followed'],
    [{ encryptionKeyFile: '/keys/open-604' }, "is not its owner's alone: its mode is 604"],
  ])('are missing: %j', async (policy, message) => {
    await expect(keysOf(places, replica(policy))).rejects.toMatchObject({
      code: 'FailedPrecondition',
      blame: { code: 'EncryptionKeyMissing', message: expect.stringContaining(message) },
    });
  });
});
