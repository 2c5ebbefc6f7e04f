import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeCause } from '../model/cause.ts';
import { type CauseCode, causeCatalogue } from '../model/causes.ts';
import { errorCatalogue } from '../model/errors.ts';
import type { Context } from './context.ts';
import { fakeTerminal, fakeWatchClient, noRoles, volumeLike } from './fakes.ts';
import { parseSse } from './sse.ts';
import { formatTable, printableText } from './table.ts';
import { codeOf, named, waitFor } from './wait.ts';

describe('formatTable()', () => {
  it('lines up columns, shows nothing as "-" and cuts long cells but the last', () => {
    expect(
      formatTable(
        ['name', 'size', 'text'],
        [
          ['db', '', 'x'],
          ['longer', '1Gi', 'y'.repeat(80)],
        ],
        { maximumCellWidth: 5 },
      ),
    ).toBe(`NAME   SIZE  TEXT\ndb     -     x\nlong…  1Gi   ${'y'.repeat(80)}\n`);
  });

  it('never lets a cell steer the terminal or break the line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(formatTable(['a', 'b'], [[text, text]]).split('\n')).toHaveLength(3);
        expect(printableText(text)).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
      }),
    );
  });
});

describe('parseSse()', () => {
  it('reads the same events from chunks of any size', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.json(), { maxLength: 5 }),
        fc.integer({ min: 1, max: 7 }),
        async (events, chunkBytes) => {
          const bytes = Buffer.from(
            events.map((event, index) => `: comment\nid: ${index}\ndata: ${event}\n\n`).join(''),
          );
          async function* chunks() {
            for (let offset = 0; offset < bytes.length; offset += chunkBytes)
              yield bytes.subarray(offset, offset + chunkBytes);
          }
          const read: string[] = [];
          for await (const data of parseSse(chunks())) read.push(data);
          expect(read.map((text) => JSON.parse(text))).toEqual(events.map((text) => JSON.parse(text)));
        },
      ),
    );
  });
});

describe('waitFor()', () => {
  function contextWith(options: { timeoutMs?: number; wait?: boolean; isTty?: boolean } = {}): Context {
    const { terminal } = fakeTerminal(options);
    const globals = {
      dataDir: '/d',
      color: false,
      timeoutMs: options.timeoutMs ?? 60_000,
      wait: options.wait ?? true,
      dryRun: false,
    };
    const unused = () => Promise.reject(new Error('not in this test'));
    return {
      terminal,
      roles: noRoles,
      env: {},
      nowMs: Date.now,
      globals: () => globals,
      format: () => 'table',
      client: unused,
      program: unused,
      setExitCode: () => {},
    };
  }
  const wait = {
    kind: 'Volume',
    query: named('db'),
    done: ([volume]: readonly ReturnType<typeof volumeLike>[]) => volume?.status.phase === 'Ready',
    what: 'volume db to be ready',
    subject: 'db',
  } as const;
  const added = (object: ReturnType<typeof volumeLike>) => ({ type: 'ADDED', object }) as const;

  it('ends when the objects are as they shall be, not before all are known', async () => {
    const early = { ...wait, done: (objects: readonly unknown[]) => objects.length === 0 };
    const events = [
      added(volumeLike('db')),
      { type: 'SYNCED' as const },
      { type: 'DELETED' as const, object: volumeLike('db') },
    ];
    expect(await waitFor(contextWith(), fakeWatchClient(events), early)).toEqual([]);
  });

  it('returns the object', async () => {
    const events = [
      { type: 'SYNCED' as const },
      added(volumeLike('db')),
      { type: 'MODIFIED' as const, object: volumeLike('db', { phase: 'Ready' }) },
    ];
    expect((await waitFor(contextWith({ isTty: true }), fakeWatchClient(events), wait))[0]?.status.phase).toBe('Ready');
  });

  it('does not wait when told not to', async () => {
    expect(await waitFor(contextWith({ wait: false }), fakeWatchClient([]), wait)).toEqual([]);
  });

  it('gives up in time, with the cause that stands', async () => {
    const near = makeCause('PoolNearFull', { pool: 'p', percent: 90 });
    const events = [{ type: 'SYNCED' as const }, added(volumeLike('db', { causes: [near] }))];
    await expect(waitFor(contextWith({ timeoutMs: 30 }), fakeWatchClient(events), wait)).rejects.toMatchObject({
      code: 'DeadlineExceeded',
      next: near.nextStep,
    });
  });

  it('fails with a blocking cause that does not go away', async () => {
    const full = makeCause('PoolFull', { pool: 'p', wanted: '1Gi', free: '0' });
    const events = [{ type: 'SYNCED' as const }, added(volumeLike('db', { causes: [full] }))];
    await expect(waitFor(contextWith(), fakeWatchClient(events), wait)).rejects.toMatchObject({
      code: 'ResourceExhausted',
      message: full.message,
    });
  });

  it('says so when the daemon stops meanwhile', async () => {
    await expect(
      waitFor(contextWith(), fakeWatchClient([{ type: 'SYNCED' }], { ends: true }), wait),
    ).rejects.toMatchObject({ code: 'Unavailable' });
  });
});

describe('codeOf()', () => {
  it('gives every cause of the catalogue an error with an exit code', () => {
    for (const cause of Object.keys(causeCatalogue) as CauseCode[])
      expect(errorCatalogue[codeOf(cause)].exit).toBeGreaterThan(0);
  });
});
