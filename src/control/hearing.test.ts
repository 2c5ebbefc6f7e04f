import { expect, it } from 'vitest';
import { makeNode } from '../placement/fixture.ts';
import { Hearing } from './hearing.ts';

it('counts from the last change of what a node reports, whatever its clock says', () => {
  let nowMs = 1_000;
  const hearing = new Hearing({ nowMs: () => nowMs, after: () => () => {} });
  const report = (heartbeat: string): void => hearing.note(makeNode('n', {}, { heartbeat }));
  expect(hearing.silentMs('n')).toBe(0);
  // An hour behind, and then an hour ahead of any clock here.
  report('1999-01-01T00:00:00.000Z');
  expect(hearing.silentMs('n')).toBe(0);
  nowMs += 70_000;
  expect(hearing.silentMs('n')).toBe(70_000);
  report('2099-01-01T00:00:00.000Z');
  expect(hearing.silentMs('n')).toBe(0);
  nowMs += 30_000;
  // Seen again, without a new report.
  report('2099-01-01T00:00:00.000Z');
  expect(hearing.silentMs('n')).toBe(30_000);
  hearing.forget('n');
  expect(hearing.silentMs('n')).toBe(0);
});
