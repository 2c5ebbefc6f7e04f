import { defineConfig } from 'vitest/config';

/** For tests that run inside a machine of the lab, which has one slow processor and sees this folder read-only. */
export default defineConfig({
  cacheDir: '/tmp/vite',
  test: {
    root: new URL('../../..', import.meta.url).pathname,
    include: ['test/machines/inside/*.ts'],
    exclude: ['**/vitest.config.ts'],
    testTimeout: 900_000,
    hookTimeout: 300_000,
    fileParallelism: false,
    pool: 'forks',
    cache: false,
  },
});
