import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SnapshotIdentity, VolumeIdentity } from '../contract.ts';
import {
  canonicalJson,
  decodePool,
  decodeSnapshot,
  decodeVolume,
  encodePool,
  encodeSnapshot,
  encodeVolume,
  type PoolIdentity,
} from './format.ts';

const id = fc.stringMatching(/^[0-9a-z][0-9a-z-]{0,62}$/);
const time = fc
  .date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true })
  .map((date) => date.toISOString());
const text = fc.string({ unit: 'binary', maxLength: 60 });
/** Kubernetes' label names begin with a letter or digit; `__proto__` is none, and JavaScript treats it as no other. */
const labelName = text.filter((name) => name !== '__proto__');
const bytes = fc.nat(Number.MAX_SAFE_INTEGER);
const volumes: fc.Arbitrary<VolumeIdentity> = fc.record(
  {
    name: text,
    uid: text,
    volumeId: id,
    sizeBytes: bytes,
    className: text,
    mode: fc.constantFrom('filesystem', 'block'),
    filesystem: fc.constantFrom('xfs', 'ext4'),
    provisioning: fc.constantFrom('thin', 'thick'),
    createdAt: time,
    generation: fc.nat(),
    claim: fc.record(
      { namespace: text, name: text, uid: text, labels: fc.dictionary(labelName, text) },
      { requiredKeys: ['namespace', 'name'] },
    ),
    parent: text,
    recycled: fc.record({ deletedAt: time, expiresAt: time }),
  },
  {
    requiredKeys: [
      'name',
      'uid',
      'volumeId',
      'sizeBytes',
      'className',
      'mode',
      'provisioning',
      'createdAt',
      'generation',
    ],
  },
);
const snapshots: fc.Arbitrary<SnapshotIdentity> = fc.record(
  {
    name: text,
    uid: text,
    snapshotId: id,
    volumeId: id,
    sizeBytes: bytes,
    cutAt: time,
    consistency: fc.constantFrom('crash', 'filesystem'),
    group: text,
  },
  { requiredKeys: ['name', 'uid', 'snapshotId', 'volumeId', 'sizeBytes', 'cutAt', 'consistency'] },
);
const pool: PoolIdentity = {
  id: 'p1',
  name: 'main',
  nodeName: 'node',
  engine: 'file',
  createdAt: '2026-01-01T00:00:00.000Z',
};

describe('identity files', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(volumes, (volume) => {
        expect(decodeVolume(encodeVolume(volume))).toEqual({ ok: true, value: volume });
      }),
    );
    fc.assert(
      fc.property(snapshots, (snapshot) => {
        expect(decodeSnapshot(encodeSnapshot(snapshot))).toEqual({ ok: true, value: snapshot });
      }),
    );
    expect(decodePool(encodePool(pool))).toEqual({ ok: true, value: pool });
  });

  it('are never believed when a byte of them has changed, or when they end early', () => {
    fc.assert(
      fc.property(volumes, fc.nat(), fc.integer({ min: 1, max: 255 }), (volume, at, flip) => {
        const whole = Buffer.from(encodeVolume(volume));
        const changed = Buffer.from(whole);
        const index = at % whole.length;
        changed[index] = (changed[index] ?? 0) ^ flip;
        const decoded = decodeVolume(changed.toString('utf8'));
        // White space between the parts is not part of what they say.
        if (decoded.ok) expect(decoded.value).toEqual(volume);
        const cut = decodeVolume(whole.subarray(0, index).toString('utf8'));
        if (cut.ok) expect(cut.value).toEqual(volume);
      }),
    );
  });

  it('of a newer version, of another subject, missing and empty ones are told apart', () => {
    const newer = JSON.stringify({ ...JSON.parse(encodePool(pool)), version: 2 });
    const problems = [undefined, '', 'hello', '[]', newer, encodePool(pool)].map((content, index) =>
      index === 5 ? decodeVolume(content) : decodePool(content),
    );
    expect(problems.map((decoded) => (decoded.ok ? 'fine' : decoded.problem))).toEqual([
      'it is missing',
      'it is empty',
      'it is not a JSON object',
      'it is not a JSON object',
      'it has version 2, written by a newer Azekura',
      'it does not say that it describes a volume',
    ]);
  });

  it('keep fields that a later Azekura of the same version adds, as part of the checksum', () => {
    const content = { format: 'azekura-pool', version: 1, pool: { ...pool, colour: 'blue' } };
    const checksum = `sha256:${createHash('sha256').update(canonicalJson(content)).digest('hex')}`;
    expect(decodePool(JSON.stringify({ ...content, checksum })).ok).toBe(true);
    expect(decodePool(JSON.stringify({ ...content, checksum: checksum.replace(/.$/, '_') })).ok).toBe(false);
  });

  it('refuse to be written with an id that could lead elsewhere', () => {
    expect(() => encodePool({ ...pool, id: '../x' })).toThrow();
  });
});

describe('canonical JSON', () => {
  it('does not depend on the order of keys', () => {
    fc.assert(
      fc.property(fc.dictionary(text, fc.jsonValue()), (value) => {
        const turned = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(turned)).toBe(canonicalJson(value));
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
