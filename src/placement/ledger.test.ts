import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encryptionHeaderBytes, Policy } from '../model/policy.ts';
import { ReplicaSpec, ReplicaStatus } from '../model/replica.ts';
import { meta } from './fixture.ts';
import { Ledger, ledger, ledgerEntry, promise } from './ledger.ts';

function replica(
  name: string,
  sizeBytes: number,
  provisioning: 'thin' | 'thick',
  sizeNow: number,
  encryption: 'none' | 'luks2' = 'none',
) {
  const metadata = meta(name);
  const spec = ReplicaSpec.parse({
    volumeName: 'v',
    volumeUid: 'u',
    volumeId: 'i',
    nodeName: 'n1',
    poolName: 'p',
    sizeBytes,
    mode: 'filesystem',
    policy: Policy.parse({ provisioning, encryption }),
    volumeCreatedAt: '2026-01-01T00:00:00.000Z',
    volumeGeneration: 1,
  });
  return { metadata, spec, status: ReplicaStatus.parse({ sizeBytes: sizeNow }) };
}

describe('ledgerEntry', () => {
  it('reserves what a thick replica has not got yet, and nothing for a thin one', () => {
    expect(ledgerEntry(replica('a', 100, 'thick', 0))).toMatchObject({ allocatedBytes: 100, promisedBytes: 100 });
    expect(ledgerEntry(replica('a', 100, 'thick', 60))).toMatchObject({ allocatedBytes: 40, promisedBytes: 100 });
    expect(ledgerEntry(replica('a', 100, 'thick', 100))).toMatchObject({ allocatedBytes: 0, promisedBytes: 100 });
    expect(ledgerEntry(replica('a', 100, 'thin', 0))).toMatchObject({ allocatedBytes: 0, promisedBytes: 100 });
  });

  it('counts the header of an encrypted volume', () => {
    const [whole, size] = [100 + encryptionHeaderBytes, { sizeBytes: 100 }];
    const sealed = (provisioning: 'thin' | 'thick', now: number) =>
      ledgerEntry(replica('a', 100, provisioning, now, 'luks2'));
    expect(sealed('thin', 0)).toMatchObject({ allocatedBytes: 0, promisedBytes: whole });
    expect(sealed('thick', 0)).toMatchObject({ allocatedBytes: whole, promisedBytes: whole });
    expect(sealed('thick', 100)).toMatchObject({ allocatedBytes: 0, promisedBytes: whole });
    // What was promised before the replica is the same.
    const policy = { provisioning: 'thick', encryption: 'luks2' } as const;
    expect(promise('a', 'p', { ...size, policy })).toEqual(sealed('thick', 0));
  });

  it('counts a replica that is larger than it should be with its real size', () => {
    expect(ledgerEntry(replica('a', 100, 'thin', 150)).promisedBytes).toBe(150);
  });
});

describe('Ledger', () => {
  it('adds up replicas', () => {
    const book = ledger([replica('a', 100, 'thick', 0), replica('b', 50, 'thin', 50)]);
    expect(book.sums('p')).toEqual({ promisedBytes: 150, reservedBytes: 100, volumes: 2 });
    expect(book.sums('q')).toEqual({ promisedBytes: 0, reservedBytes: 0, volumes: 0 });
  });

  it('answers as if entries were not there, and tells that nothing has changed for good', () => {
    const book = ledger([replica('a', 100, 'thick', 0), replica('b', 50, 'thin', 50)]);
    const told: string[] = [];
    book.onChange((poolName, lasting) => told.push(`${poolName} ${lasting}`));
    const before = { ...book.sums('p') };
    expect(book.without(['a', 'absent'], () => ({ ...book.sums('p') }))).toEqual({
      promisedBytes: 50,
      reservedBytes: 0,
      volumes: 1,
    });
    expect(book.sums('p')).toEqual(before);
    expect(() =>
      book.without(['a', 'b'], () => {
        throw new Error('of the work');
      }),
    ).toThrow('of the work');
    expect(book.sums('p')).toEqual(before);
    expect(told).toEqual(Array(4).fill('p false'));
  });

  it('keeps its sums equal to those of its entries, whatever comes and goes', () => {
    const entry = fc.record({
      replicaName: fc.constantFrom('a', 'b', 'c'),
      poolName: fc.constantFrom('p', 'q'),
      allocatedBytes: fc.nat(1_000),
      promisedBytes: fc.nat(1_000),
    });
    const step = fc.oneof(entry, fc.constantFrom('a', 'b', 'c'));
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const book = new Ledger();
        const plain = new Map<string, { poolName: string; allocatedBytes: number; promisedBytes: number }>();
        for (const one of steps) {
          if (typeof one === 'string') {
            book.delete(one);
            plain.delete(one);
          } else {
            book.set(one);
            plain.set(one.replicaName, one);
          }
        }
        for (const poolName of ['p', 'q']) {
          const own = [...plain.values()].filter((one) => one.poolName === poolName);
          expect(book.sums(poolName)).toEqual({
            promisedBytes: own.reduce((sum, one) => sum + one.promisedBytes, 0),
            reservedBytes: own.reduce((sum, one) => sum + one.allocatedBytes, 0),
            volumes: own.length,
          });
        }
      }),
    );
  });
});
