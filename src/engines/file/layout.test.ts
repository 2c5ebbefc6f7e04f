import { posix } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AzekuraError } from '../../model/errors.ts';
import { isId, recycledPlace, snapshotPlace, volumePlace, workPlace } from './layout.ts';

describe('the layout of a pool', () => {
  it('keeps every path inside the pool, whatever the ids, or refuses', () => {
    const ids = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('..', '.', '', '../..', 'a/b', 'a\0b', 'ok', '-a', 'a\n'),
      fc.stringMatching(/^[./a-z-]{0,20}$/),
    );
    fc.assert(
      fc.property(ids, ids, (volumeId, snapshotId) => {
        const makers = [
          () => volumePlace('/pool', volumeId).data,
          () => recycledPlace('/pool', volumeId).identity,
          () => workPlace('/pool', 'create', volumeId).folder,
          () => snapshotPlace(volumePlace('/pool', 'v'), snapshotId).data,
        ];
        for (const make of makers) {
          try {
            const path = make();
            expect(posix.normalize(path)).toBe(path);
            expect(path).toMatch(/^\/pool\/(volumes|recycled|tmp)\/[^/]+/);
          } catch (error) {
            expect(error).toBeInstanceOf(AzekuraError);
          }
        }
      }),
    );
  });

  it('knows an id when it sees one', () => {
    expect(['a', '0', 'a-b', 'x'.repeat(63)].every(isId)).toBe(true);
    expect(['', '-a', 'A', 'a.b', 'a/b', 'a\n', 'x'.repeat(64), '..'].some(isId)).toBe(false);
  });
});
