import { describe, expect, it } from 'vitest';
import { LoopHints } from './loop-hints.ts';

const loop = { device: '/dev/loop7' };

describe('LoopHints', () => {
  it('hands the device of the last look to the next one, single or in a batch', async () => {
    const hints = new LoopHints('/nowhere');
    await hints.run(
      'batch',
      [
        [
          { call: 'stat', args: ['/a'] },
          { call: 'attachLoop', args: ['/a', { reuse: true }] },
        ],
      ],
      async (args) => {
        expect(args).toEqual([
          [
            { call: 'stat', args: ['/a'] },
            { call: 'attachLoop', args: ['/a', { reuse: true }] },
          ],
        ]);
        return [[{ kind: 'file' }], [loop]];
      },
    );
    await hints.run('findLoop', ['/a'], async (args) => {
      expect(args).toEqual(['/a', { hint: '/dev/loop7' }]);
      return loop;
    });
    await hints.run('batch', [[{ call: 'attachLoop', args: ['/a', { reuse: true }] }]], async (args) => {
      expect(args).toEqual([[{ call: 'attachLoop', args: ['/a', { reuse: true, hint: '/dev/loop7' }] }]]);
      return [[loop]];
    });
  });

  it('forgets a device that is gone', async () => {
    const hints = new LoopHints('/nowhere');
    const seen: unknown[] = [];
    const find = (result: unknown) =>
      hints.run('findLoop', ['/a'], async (args) => {
        seen.push(args);
        return result;
      });
    await find(loop);
    await hints.run('detachLoop', ['/dev/loop7', '/a'], async () => undefined);
    await find(loop);
    await find(undefined);
    await find(undefined);
    expect(seen).toEqual([['/a'], ['/a'], ['/a', { hint: '/dev/loop7' }], ['/a']]);
  });
});
