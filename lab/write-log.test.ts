import { appendFileSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LogReader, type LogRecord, LogWriter, type PositionedRecord } from './write-log.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'azekura-lab-'));
  path = join(directory, 'log');
});
afterEach(() => rmSync(directory, { recursive: true }));

const records: fc.Arbitrary<LogRecord[]> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('write' as const),
      offsetBytes: fc.nat({ max: 2 ** 40 }),
      data: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    }),
    fc.constant({ kind: 'flush' as const }),
    fc.record({ kind: fc.constant('mark' as const), name: fc.string({ maxLength: 40 }) }),
  ),
  { maxLength: 30 },
);

function readAll(): PositionedRecord[] {
  const reader = new LogReader(path);
  const all: PositionedRecord[] = [];
  for (let record = reader.next(); record; record = reader.next()) all.push(record);
  reader.close();
  return all;
}

function write(list: readonly LogRecord[]): number[] {
  const writer = new LogWriter(path, 2 ** 41);
  const positions = list.map((record) => {
    writer.append(record);
    return writer.position();
  });
  writer.close();
  return positions;
}

describe('write log', () => {
  it('gives back what was appended, in order, with the positions that the writer saw', () => {
    fc.assert(
      fc.property(records, (list) => {
        const positions = write(list);
        expect(readAll()).toEqual(list.map((record, index) => ({ ...record, endPosition: positions[index] })));
      }),
      { numRuns: 60 },
    );
  });

  it('reads a log that was cut anywhere as the records that are whole', () => {
    fc.assert(
      fc.property(records, fc.double({ min: 0, max: 1, noNaN: true }), (list, share) => {
        const positions = write(list);
        const cut = Math.max(32, Math.floor(statSync(path).size * share));
        truncateSync(path, cut);
        expect(readAll()).toHaveLength(positions.filter((position) => position <= cut).length);
      }),
      { numRuns: 60 },
    );
  });

  it('goes on with a log that is there and tells the size of the disk', () => {
    write([{ kind: 'flush' }]);
    const second = new LogWriter(path);
    second.append({ kind: 'mark', name: 'later' });
    second.close();
    expect(readAll().map((record) => record.kind)).toEqual(['flush', 'mark']);
    const reader = new LogReader(path);
    expect(reader.diskBytes).toBe(2 ** 41);
    reader.close();
  });

  it('refuses what is no log, and stops at damage', () => {
    appendFileSync(path, Buffer.alloc(64));
    expect(() => new LogReader(path)).toThrow('is not a write log');
    rmSync(path);
    write([{ kind: 'flush' }]);
    appendFileSync(path, Buffer.alloc(32, 1));
    expect(() => readAll()).toThrow('damaged at 64');
  });
});
