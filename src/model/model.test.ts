import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { makeCause, worstCause } from './cause.ts';
import { type CauseCode, causeCatalogue } from './causes.ts';
import { AzekuraError, blamed, errorCatalogue, hasCode, toAzekuraError } from './errors.ts';
import { kindFromWord, kindNames, kinds, resourceSchema } from './kinds.ts';
import { Name } from './meta.ts';
import { attachmentName } from './names.ts';

describe('Name', () => {
  it.each(['a', 'db', 'x'.repeat(63), 'a-1', '0'])('accepts %s', (name) =>
    expect(Name.safeParse(name).success).toBe(true),
  );
  it.each(['', 'x'.repeat(64), 'x'.repeat(129), '-a', 'a-', 'A', 'a/b', '..', 'ä', 'a b', 'a$(b)', 'a\n', 'a.b'])(
    'refuses %j',
    (name) => expect(Name.safeParse(name).success).toBe(false),
  );
});

describe('causes', () => {
  const codes = Object.keys(causeCatalogue) as CauseCode[];

  it('makeCause() fills the placeholders and keeps the values as evidence', () => {
    const cause = makeCause('PoolFull', { pool: 'main', wanted: '10Gi', free: '1Gi' });
    expect(cause.message).toBe('pool main has no room: 10Gi wanted, 1Gi free after its reserve');
    expect(cause.evidence).toEqual({ pool: 'main', wanted: '10Gi', free: '1Gi' });
  });

  it.each(codes)('%s says what to do, in one sentence without a full stop', (code) => {
    const entry = causeCatalogue[code];
    expect(entry.message).not.toMatch(/\.$/);
    expect(entry.nextStep).not.toMatch(/\.$/);
    expect(entry.nextStep.length).toBeGreaterThan(10);
  });

  it('worstCause() prefers what blocks, then what is older', () => {
    const near = makeCause('PoolNearFull', {}, '2026-01-01T00:00:00.000Z');
    const late = makeCause('PoolMissing', {}, '2026-01-03T00:00:00.000Z');
    const early = makeCause('PoolReadOnly', {}, '2026-01-02T00:00:00.000Z');
    expect(worstCause([near, late, early])).toBe(early);
    expect(worstCause([])).toBeUndefined();
  });
});

describe('errors', () => {
  it('take their sentence and next step from the state that is to blame', () => {
    const error = blamed('FailedPrecondition', makeCause('InUse', { what: 'volume db', holder: 'postgres (pid 7)' }));
    expect(error.message).toBe('volume db is in use by postgres (pid 7)');
    expect(error.next).toContain('umount');
    expect(hasCode(error, 'FailedPrecondition')).toBe(true);
    expect(hasCode(error, 'NotFound')).toBe(false);
  });

  it('a stranger becomes Internal and keeps its origin', () => {
    const origin = new Error('boom');
    const error = toAzekuraError(origin);
    expect(error.code).toBe('Internal');
    expect(error.cause).toBe(origin);
    expect(toAzekuraError(new AzekuraError('NotFound', 'x')).code).toBe('NotFound');
  });

  it('codes have an HTTP status, a gRPC code and an exit code in range', () => {
    for (const entry of Object.values(errorCatalogue)) {
      expect(entry.http).toBeGreaterThanOrEqual(400);
      expect(entry.grpc).toBeGreaterThanOrEqual(1);
      expect(entry.grpc).toBeLessThanOrEqual(16);
      expect(entry.exit).toBeGreaterThanOrEqual(1);
      expect(entry.exit).toBeLessThan(64);
    }
  });
});

describe('names', () => {
  it('of attachments are labels, whatever the node is called, and differ when the nodes do', () => {
    const part = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/);
    const nodeName = fc.array(part, { minLength: 1, maxLength: 9 }).map((parts) => parts.join('.'));
    fc.assert(
      fc.property(nodeName, nodeName, (one, other) => {
        const [first, second] = [attachmentName('v0123456789', one), attachmentName('v0123456789', other)];
        expect(Name.safeParse(first).success).toBe(true);
        expect(first === second).toBe(one === other);
      }),
    );
    expect(attachmentName('v', 'n.1')).not.toBe(attachmentName('v', 'n-1'));
  });
});

describe('kinds', () => {
  it('are found by every word for them, and by no other', () => {
    for (const kind of kindNames) {
      for (const word of [kind, kinds[kind].plural, ...kinds[kind].shortNames, kind.toUpperCase()])
        expect(kindFromWord(word)).toBe(kind);
    }
    fc.assert(fc.property(fc.string(), (word) => void kindFromWord(word)));
    expect(kindFromWord('nonsense')).toBeUndefined();
  });

  it.each(kindNames)('%s has a schema that becomes OpenAPI', (kind) => {
    const schema = z.toJSONSchema(resourceSchema(kind), { target: 'openapi-3.0', io: 'input' });
    expect(schema.type).toBe('object');
  });
});
