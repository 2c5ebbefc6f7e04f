import { expect, it } from 'vitest';
import { freezesNest } from './kernel-release.ts';

it.each([
  ['6.8.0-45-generic', true],
  ['6.12.48+deb13-amd64', true],
  ['7.0.1', true],
  ['6.7.9', false],
  ['6.1.0-37-amd64', false],
  ['5.15.0', false],
  ['', false],
])('freezes nest on "%s": %s', (release, nest) => {
  expect(freezesNest(release)).toBe(nest);
});
