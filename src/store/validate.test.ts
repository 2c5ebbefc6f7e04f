import { describe, expect, it } from 'vitest';
import { AzekuraError } from '../model/errors.ts';
import type { Kind, NewResource } from '../model/kinds.ts';
import { newResource } from './validate.ts';

const birth = { uid: 'u-1', creationTimestamp: '2026-01-01T00:00:00.000Z' };

function sentence(kind: string, metadata: unknown, spec: unknown, status?: unknown): string {
  try {
    newResource({ kind, metadata, spec, status } as NewResource<Kind>, birth);
  } catch (error) {
    if (error instanceof AzekuraError && error.code === 'InvalidArgument') return error.message;
    throw error;
  }
  return 'valid';
}

describe('validation', () => {
  it.each([
    [{ sizeBytes: 'ten' }, 'Volume "db" is not valid: spec.sizeBytes must be a number, not "ten"'],
    [{ sizeBytes: 1.5 }, 'Volume "db" is not valid: spec.sizeBytes must be a whole number, not 1.5'],
    [{ sizeBytes: -1 }, 'Volume "db" is not valid: spec.sizeBytes must be at least 0'],
    [{}, 'Volume "db" is not valid: spec.sizeBytes is missing'],
    [{ sizeBytes: 1, mode: 'tape' }, 'Volume "db" is not valid: spec.mode must be "filesystem" or "block", not "tape"'],
    [{ sizeBytes: 1, colour: 'red' }, 'Volume "db" is not valid: spec has no field "colour"'],
    [{ sizeBytes: 1, policy: { replicas: 9 } }, 'Volume "db" is not valid: spec.policy.replicas must be at most 3'],
    [
      { sizeBytes: 1, policy: { mountOptions: ['ro', 7] } },
      'Volume "db" is not valid: spec.policy.mountOptions[1] must be a string, not 7',
    ],
    [[], 'Volume "db" is not valid: spec must be an object, not an array'],
    [undefined, 'Volume "db" is not valid: spec is missing'],
  ])('of spec %j says: %s', (spec, message) => {
    expect(sentence('Volume', { name: 'db' }, spec)).toBe(message);
  });

  it('names what is wrong with metadata and status', () => {
    const spec = { sizeBytes: 1 };
    expect(sentence('Volume', { name: 'Ä' }, spec)).toContain('metadata.name must consist of lower-case letters');
    expect(sentence('Volume', { name: 'db', uid: 'a/b' }, spec)).toContain('metadata.uid must consist of');
    expect(sentence('Volume', { name: 'db', labels: { a: 1 } }, spec)).toContain(
      'metadata.labels.a must be a string, not 1',
    );
    expect(sentence('Volume', undefined, spec)).toContain('metadata.name is missing');
    expect(sentence('Volume', { name: 'db' }, spec, { phase: 'Odd' })).toContain('status.phase must be "Pending" or');
  });

  it('refuses a kind that does not exist, even one that every object has', () => {
    expect(sentence('Tape', { name: 'db' }, {})).toContain('no kind of object called "Tape"');
    expect(sentence('toString', { name: 'db' }, {})).toContain('no kind of object called "toString"');
  });

  it('shows at most five problems of many', () => {
    const volumeNames = Array.from({ length: 9 }, () => 7);
    expect(sentence('SnapshotGroup', { name: 'nightly' }, { volumeNames })).toMatch(/volumeNames\[4\].*; and 4 more$/);
  });
});
