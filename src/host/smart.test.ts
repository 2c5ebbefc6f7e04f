import { describe, expect, it } from 'vitest';
import { FakeClock } from '../lib/fake-clock.ts';
import { parseSmart, smartReader } from './smart.ts';

describe('parseSmart', () => {
  it.each([
    ['{"smart_status":{"passed":true}}', undefined],
    ['{"smart_status":{"passed":false}}', 'it expects to fail soon (SMART)'],
    [
      '{"smart_status":{"passed":false},"nvme_smart_health_information_log":{"critical_warning":9}}',
      'it says that its spare blocks run out and it has become read-only (SMART)',
    ],
    ['{"smartctl":{"messages":[{"string":"Unable to detect device type"}],"exit_status":1}}', undefined],
    ['', undefined],
    ['[]', undefined],
  ])('reads %s', (text, problem) => {
    expect(parseSmart(text)).toBe(problem);
  });
});

describe('smartReader', () => {
  it('asks once in a quarter of an hour, and takes silence for health', async () => {
    const clock = new FakeClock();
    const asked: string[] = [];
    const read = smartReader(async (argv) => {
      asked.push(argv.at(-1) ?? '');
      if (argv.at(-1) === '/dev/gone') throw new Error('no such device');
      return { exitCode: 8, stdout: '{"smart_status":{"passed":false}}', stderr: '' };
    }, clock);
    expect(await read('/dev/sda')).toBe('it expects to fail soon (SMART)');
    expect(await read('/dev/gone')).toBeUndefined();
    await read('/dev/sda');
    expect(asked).toEqual(['/dev/sda', '/dev/gone']);
    await clock.advance(16 * 60_000);
    await read('/dev/sda');
    expect(asked).toHaveLength(3);
  });
});
