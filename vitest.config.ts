import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/longest-first.ts';

// unit: beside the code, needs nothing but Node; the files of a worker share its modules, none of which has a state.
// system: needs root, loop devices and XFS; one file at a time, because the machine's loop devices and page cache are
// shared by all of them. kubernetes: a real cluster on top of that. lab: machines with kernels of their own, two files at
// a time; needs root and /dev/net/tun.
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'scripts/**/*.test.ts', 'lab/**/*.test.ts'],
          testTimeout: 30_000,
          isolate: false,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'system',
          include: ['test/**/*.test.ts'],
          exclude: ['test/kubernetes/**', 'test/machines/**'],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          pool: 'forks',
        },
      },
      {
        test: {
          name: 'lab',
          include: ['test/machines/**/*.test.ts'],
          testTimeout: 600_000,
          hookTimeout: 300_000,
          maxWorkers: 2,
          pool: 'forks',
        },
      },
      {
        test: {
          name: 'kubernetes',
          include: ['test/kubernetes/**/*.test.ts'],
          globalSetup: 'test/kubernetes/suite.ts',
          testTimeout: 240_000,
          hookTimeout: 240_000,
          fileParallelism: false,
          pool: 'forks',
        },
      },
    ],
  },
});
