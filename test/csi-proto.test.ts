import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ToolMissing } from '../lab/go.ts';
import { specModule } from '../lab/sanity/build.ts';
import { facts, publishedFile } from '../lab/sanity/descriptor.ts';
import { file_csi } from '../src/gen/csi/csi_pb.js';

const published = await specModule().catch((error: unknown) => {
  if (error instanceof ToolMissing) return error.message;
  throw error;
});
const skipped = typeof published === 'string' ? ` (skipped: ${published})` : '';

describe.skipIf(skipped !== '')(`proto/csi.proto${skipped}`, () => {
  const folder = typeof published === 'string' ? '' : published.folder;

  it('says what the published specification says: every message, field, number, type, option, enum and call', () => {
    const theirs = facts(publishedFile(folder));
    expect(facts(file_csi)).toEqual(theirs);
    // The comparison is worth nothing if it compares nothing.
    expect(theirs.filter((line) => line.startsWith('rpc '))).toHaveLength(36);
    expect(theirs.filter((line) => line.includes('1059=01')).length).toBeGreaterThan(15);
    expect(theirs.filter((line) => line.startsWith('field ')).length).toBeGreaterThan(200);
  });

  it("has none of the specification's sentences", () => {
    const sentences = (text: string) =>
      new Set(
        text
          .split('\n')
          .map((line) => /\/\/\s*(.*)/.exec(line)?.[1]?.trim() ?? '')
          .filter((line) => line.split(' ').length > 3),
      );
    const own = readFileSync(path.join(import.meta.dirname, '..', 'proto', 'csi.proto'), 'utf8');
    const theirs = sentences(readFileSync(path.join(folder, 'csi.proto'), 'utf8'));
    expect(theirs.size).toBeGreaterThan(500);
    expect([...sentences(own)].filter((line) => theirs.has(line))).toEqual([]);
  });
});
