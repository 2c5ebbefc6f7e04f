import path from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import seconds from './seconds.json' with { type: 'json' };

const known: Readonly<Record<string, number>> = seconds;

/** Starts the files first that are known to take long, so that two files at a time end together; the others as vitest does. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((one, other) => secondsOf(other) - secondsOf(one));
  }
}

function secondsOf({ moduleId }: TestSpecification): number {
  return known[path.relative(import.meta.dirname, moduleId).replace(/\.test\.ts$/, '')] ?? 0;
}
