/**
 * What the writer of a power-cut test writes and what must be there afterwards. Each record carries its sequence number;
 * an acknowledgement says "this was fsynced when the disk's log had this length".
 */
import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';

export const slotCount = 2048;
export const slotBytes = 4096;

export type Ack = { readonly position: number; readonly seq: number } & (
  | { readonly kind: 'slot'; readonly slot: number }
  /** A new file `f<seq>`, its name made durable by fsync of the folder. */
  | { readonly kind: 'file' }
  /** `current`, replaced by rename and fsync of the folder. */
  | { readonly kind: 'rename' }
  /** `journal` has at least this length. */
  | { readonly kind: 'append'; readonly length: number }
);

/** One block that tells its own place and sequence number all over, so that a torn block shows. */
export function slotContent(seq: number, slot: number): Buffer {
  const block = Buffer.alloc(slotBytes);
  for (let offset = 0; offset < slotBytes; offset += 16) {
    block.writeDoubleLE(seq, offset);
    block.writeDoubleLE(slot, offset + 8);
  }
  return block;
}

/** Content of `f<seq>` and `current`. */
export function fileContent(seq: number): string {
  return `record ${seq}\n`.repeat(40);
}

/** Byte of `journal` at an offset. */
export function journalByte(offset: number): number {
  return (offset * 31 + (offset >> 8)) & 255;
}

export interface Verdict {
  readonly checked: number;
  /** One clause for each acknowledged record that is not there. */
  readonly lost: readonly string[];
  /** The largest sequence number in any slot. */
  readonly newestSeq: number;
}

/** Compares a mounted volume with what was acknowledged before a position. */
export function verifyRecords(directory: string, acks: readonly Ack[], position: number): Verdict {
  const due = acks.filter((ack) => ack.position <= position);
  const lost: string[] = [];
  const slots = new Map<number, number>();
  let journalLength = 0;
  let currentSeq = 0;
  let newestSeq = 0;
  for (const ack of due) {
    if (ack.kind === 'slot') slots.set(ack.slot, ack.seq);
    else if (ack.kind === 'append') journalLength = Math.max(journalLength, ack.length);
    else if (ack.kind === 'rename') currentSeq = ack.seq;
    else if (readOrEmpty(`${directory}/f${ack.seq}`) !== fileContent(ack.seq)) lost.push(`file f${ack.seq}`);
  }
  if (due.length > 0) {
    const fd = openSync(`${directory}/slots`, 'r');
    const block = Buffer.alloc(slotBytes);
    for (let slot = 0; slot < slotCount; slot++) {
      readSync(fd, block, 0, slotBytes, slot * slotBytes);
      const seq = block.readDoubleLE(0);
      newestSeq = Math.max(newestSeq, seq);
      const acknowledged = slots.get(slot) ?? 0;
      if (seq < acknowledged) lost.push(`slot ${slot}: ${seq} instead of ${acknowledged}`);
      else if (seq > 0 && !block.equals(slotContent(seq, slot))) lost.push(`slot ${slot}: torn`);
    }
    closeSync(fd);
    const journal = existsSync(`${directory}/journal`) ? readFileSync(`${directory}/journal`) : Buffer.alloc(0);
    const good = journal.findIndex((byte, offset) => byte !== journalByte(offset));
    if (journal.length < journalLength || (good >= 0 && good < journalLength))
      lost.push(`journal: ${journal.length} bytes, good to ${good}, ${journalLength} acknowledged`);
    const current = Number(/^record (\d+)/.exec(readOrEmpty(`${directory}/current`))?.[1] ?? 0);
    if (current < currentSeq) lost.push(`current: ${current} instead of ${currentSeq}`);
  }
  return { checked: due.length, lost, newestSeq };
}

function readOrEmpty(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** Reads the writer's file of acknowledgements; a last line that is cut short counts for nothing. */
export function readAcks(path: string): readonly Ack[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Ack);
}
