import { expect, it } from 'vitest';
import { shortId } from './id.ts';

it('shortId() gives 16 characters that fit every name, and never the same twice', () => {
  const ids = new Set(Array.from({ length: 10_000 }, shortId));
  expect(ids.size).toBe(10_000);
  for (const id of ids) {
    expect(id).toHaveLength(16);
    expect(id).toMatch(/^[0-9a-z]+$/);
  }
});
