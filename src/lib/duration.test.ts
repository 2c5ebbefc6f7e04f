import { describe, expect, it } from 'vitest';
import { formatDurationMs, parseDurationMs } from './duration.ts';

describe('parseDurationMs()', () => {
  it.each([
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['7d', 604_800_000],
    ['250ms', 250],
    ['15', 15_000],
  ])('reads %s', (text, ms) => expect(parseDurationMs(text)).toBe(ms));

  it.each(['', 'soon', '-1s', '1w', '1h 30m'])('refuses %j', (text) => expect(parseDurationMs(text)).toBeUndefined());
});

describe('formatDurationMs()', () => {
  it.each([
    [0, '0s'],
    [119_000, '119s'],
    [150_000, '2m30s'],
    [7_200_000, '2h'],
    [93_784_000, '26h3m'],
    [200_000_000, '2d7h'],
    [-5, '0s'],
  ])('writes %d', (ms, text) => expect(formatDurationMs(ms)).toBe(text));
});
