import { describe, expect, it } from 'vitest';
import { crashPointFromEnv, makeSteps } from './steps.ts';

describe('makeSteps()', () => {
  it('reports each step and passes a crash point before and after it', async () => {
    const seen: string[] = [];
    const steps = makeSteps(
      {
        started: (name) => seen.push(`start ${name}`),
        ended: (name, error) => seen.push(`${error ? 'fail' : 'end'} ${name}`),
      },
      (point) => seen.push(point),
    );
    await expect(steps.run('a.b', () => Promise.resolve(3))).resolves.toBe(3);
    await expect(steps.run('a.c', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(seen).toEqual(['a.b:before', 'start a.b', 'end a.b', 'a.b:after', 'a.c:before', 'start a.c', 'fail a.c']);
  });
});

describe('crashPointFromEnv()', () => {
  it('kills at the n-th time that the point is reached, and logs every point', () => {
    const seen: string[] = [];
    const effects = {
      kill: () => seen.push('killed'),
      append: (file: string, line: string) => seen.push(`${file}: ${line.trim()}`),
    };
    const point = crashPointFromEnv({ AZEKURA_CRASH_AT: 'x:after#2', AZEKURA_CRASH_LOG: 'log' }, effects);
    for (const name of ['x:before', 'x:after', 'x:after', 'x:after']) point(name);
    expect(seen).toEqual(['log: x:before', 'log: x:after', 'log: x:after', 'killed', 'log: x:after']);
  });

  it('does nothing without the variables', () => {
    const seen: string[] = [];
    crashPointFromEnv({}, { kill: () => seen.push('killed'), append: () => seen.push('logged') })('x:before');
    expect(seen).toEqual([]);
  });
});
