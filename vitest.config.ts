import { defineConfig } from 'vitest/config';

// unit: beside the code, needs nothing but Node. system: needs root, loop devices and XFS; one file at a time,
// because the machine's loop devices and page cache are shared by all of them.
// lab: needs root and /dev/net/tun; boots machines with kernels of their own (lab/machines).
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'scripts/**/*.test.ts', 'lab/**/*.test.ts'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'system',
          include: ['test/**/*.test.ts'],
          exclude: ['test/machines/**'],
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
          fileParallelism: false,
          pool: 'forks',
        },
      },
    ],
  },
});
