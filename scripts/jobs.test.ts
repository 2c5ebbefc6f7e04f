import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

interface Job {
  readonly name: string;
  readonly files: readonly string[];
}

const root = path.join(import.meta.dirname, '..');
// Plain JavaScript, because `npm test` begins without node_modules.
const { testJobs, secondsOf } = (await import(path.join(root, 'scripts/lib/jobs.mjs'))) as {
  testJobs(): readonly Job[];
  readonly secondsOf: Readonly<Record<string, number>>;
};

describe('the jobs of `npm test`', () => {
  it('run every test file once', () => {
    const present = readdirSync(path.join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.test.ts'),
    );
    const run = testJobs().flatMap(({ files }) => files.map((file) => path.relative('test', file)));
    expect([...run].sort()).toEqual(present.sort());
  });

  it('put files on the shared cluster together, whether they ask for it themselves or by a helper', () => {
    const shared = testJobs().find(({ name }) => name.endsWith('on a shared cluster'))?.files ?? [];
    for (const name of ['kills', 'troubles']) expect(shared).toContain(`test/kubernetes/${name}.test.ts`);
    expect(shared).not.toContain('test/kubernetes/processes.test.ts');
  });

  it('know seconds of files that are there only', () => {
    const files = testJobs().flatMap((job) => job.files);
    expect(Object.keys(secondsOf).filter((name) => !files.includes(`test/${name}.test.ts`))).toEqual([]);
  });
});
