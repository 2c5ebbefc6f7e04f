import { z } from 'zod';
import { isId } from './layout.ts';

/** How far a copy is. Unfinished work: it means nothing to anybody but the move that wrote it. */
export interface MoveNote {
  /** Of the clone that is copied. */
  readonly token: string;
  /** Of the volume's data, from the beginning. */
  readonly copiedBytes: number;
  /** Snapshots whose copies are complete. */
  readonly snapshotIds: readonly string[];
}

const Note = z.object({
  token: z.string().min(1),
  copiedBytes: z.int().min(0),
  snapshotIds: z.array(z.string().refine(isId)),
});

export function encodeNote(note: MoveNote): string {
  return `${JSON.stringify(note)}\n`;
}

/** @returns undefined for a note that is not there, or of no use */
export function decodeNote(text: string | undefined): MoveNote | undefined {
  try {
    const parsed = Note.safeParse(JSON.parse(text ?? ''));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
