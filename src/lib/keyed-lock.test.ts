import { describe, expect, it } from 'vitest';
import { KeyedLock } from './keyed-lock.ts';

const tick = () => new Promise((resolve) => setImmediate(resolve));

describe('KeyedLock', () => {
  it('runs one holder of a key at a time, in order, and other keys beside it', async () => {
    const lock = new KeyedLock();
    const seen: string[] = [];
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const first = lock.run('a', async () => {
      seen.push('a1 in');
      await gate;
      seen.push('a1 out');
    });
    const second = lock.run('a', async () => void seen.push('a2'));
    const other = lock.run('b', async () => void seen.push('b'));
    await other;
    expect(seen).toEqual(['a1 in', 'b']);
    expect(lock.isHeld('a')).toBe(true);
    open();
    await Promise.all([first, second]);
    expect(seen).toEqual(['a1 in', 'b', 'a1 out', 'a2']);
    await tick();
    expect(lock.isHeld('a')).toBe(false);
  });

  it('goes on after a holder that threw', async () => {
    const lock = new KeyedLock();
    await expect(lock.run('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await expect(lock.run('a', () => Promise.resolve(7))).resolves.toBe(7);
  });

  it('lets an aborted waiter go without breaking the queue', async () => {
    const lock = new KeyedLock();
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const seen: string[] = [];
    const first = lock.run('a', () => gate);
    const abort = new AbortController();
    const second = lock.run('a', async () => void seen.push('second'), abort.signal);
    const third = lock.run('a', async () => void seen.push('third'));
    abort.abort(new Error('gave up'));
    await expect(second).rejects.toThrow('gave up');
    expect(seen).toEqual([]);
    open();
    await Promise.all([first, third]);
    expect(seen).toEqual(['third']);
  });
});
