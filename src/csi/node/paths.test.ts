import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { TargetPaths } from './paths.ts';

describe('TargetPaths', () => {
  it('serves any number of calls at the same time', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'azekura-paths-'));
    const paths = new TargetPaths(systemClock);
    const checks = Array.from({ length: 100 }, (_, index) =>
      paths.check(path.join(folder, String(index)), 'target_path'),
    );
    await expect(Promise.all(checks)).resolves.toHaveLength(100);
    await rm(folder, { recursive: true });
  });
});
