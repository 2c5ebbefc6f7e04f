/**
 * The writer of a power-cut test, a process of its own: `writer.ts DIRECTORY LOG ACKS SEED`. Writes records to a mounted
 * volume, fsyncs each, and only then notes it in ACKS together with the length of the disk's log. Goes on until its
 * standard input ends.
 */
import {
  appendFileSync,
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { seededRandom } from '../random.ts';
import { type Ack, fileContent, journalByte, slotBytes, slotContent, slotCount } from './records.ts';

const [directory, logPath, acksPath, seed] = process.argv.slice(2);
if (!directory || !logPath || !acksPath) throw new Error('usage: writer.ts DIRECTORY LOG ACKS SEED');
const random = seededRandom(Number(seed));
const log = openSync(logPath, 'r');
const folder = openSync(directory, 'r');
const slots = openSync(`${directory}/slots`, 'w+');
const journal = openSync(`${directory}/journal`, 'a+');
writeSync(slots, Buffer.alloc(slotCount * slotBytes));
fsyncSync(slots);
fsyncSync(folder);

type AckOf<K extends Ack['kind']> = Omit<Extract<Ack, { kind: K }>, 'position'>;
function acknowledge<K extends Ack['kind']>(ack: AckOf<K>): void {
  appendFileSync(acksPath ?? '', `${JSON.stringify({ position: fstatSync(log).size, ...ack })}\n`);
}

/** Writes a file and makes it durable; its name is the caller's. */
function writeDurably(path: string, text: string): void {
  const fd = openSync(path, 'w');
  writeSync(fd, text);
  fsyncSync(fd);
  closeSync(fd);
}

let journalLength = 0;
function one(seq: number): void {
  const slot = random.below(slotCount);
  writeSync(slots, slotContent(seq, slot), 0, slotBytes, slot * slotBytes);
  fsyncSync(slots);
  acknowledge<'slot'>({ kind: 'slot', seq, slot });
  if (seq % 7 === 0) {
    const start = journalLength;
    const piece = Buffer.from(
      Array.from({ length: 1 + random.below(3_000) }, (_, index) => journalByte(start + index)),
    );
    writeSync(journal, piece);
    fsyncSync(journal);
    journalLength += piece.length;
    acknowledge<'append'>({ kind: 'append', seq, length: journalLength });
  }
  if (seq % 11 === 0) {
    writeDurably(`${directory}/f${seq}`, fileContent(seq));
    fsyncSync(folder);
    acknowledge<'file'>({ kind: 'file', seq });
  }
  if (seq % 13 === 0) {
    writeDurably(`${directory}/next`, fileContent(seq));
    renameSync(`${directory}/next`, `${directory}/current`);
    fsyncSync(folder);
    acknowledge<'rename'>({ kind: 'rename', seq });
  }
  // Writes and deletions that nobody promised anything about keep the caches and journals busy.
  if (seq % 5 === 0)
    writeFileSync(`${directory}/noise${random.below(9)}`, random.fill(Buffer.alloc(4 * (1 + random.below(50_000)))));
  if (seq % 25 === 0) rmSync(`${directory}/noise${random.below(9)}`, { force: true });
}

let going = true;
process.stdin.on('end', () => {
  going = false;
});
process.stdin.resume();

let seq = 0;
function next(): void {
  if (!going) process.exit(0);
  one(++seq);
  setImmediate(next);
}
next();
