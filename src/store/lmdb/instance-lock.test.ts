import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { refusal } from '../contract-helpers.ts';
import { acquireInstanceLock } from './instance-lock.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'azekura-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('instance lock', () => {
  it('is held by one, named by its pid, and free after release', async () => {
    const lock = await acquireInstanceLock(folder);
    const error = await refusal(acquireInstanceLock(folder));
    expect(error).toMatchObject({ code: 'FailedPrecondition', details: { pid: process.pid } });
    expect(error.message).toContain(`pid ${process.pid}`);
    await lock.release();
    await lock.release();
    expect(readdirSync(folder)).toEqual([]);
    await (await acquireInstanceLock(folder)).release();
  });

  it('goes to at most one of many that come at once, and never stays with a loser', async () => {
    for (let round = 0; round < 20; round++) {
      const attempts = await Promise.allSettled(Array.from({ length: 8 }, () => acquireInstanceLock(folder)));
      const won = attempts.flatMap((attempt) => (attempt.status === 'fulfilled' ? [attempt.value] : []));
      expect(won).toHaveLength(1);
      await Promise.all(won.map((lock) => lock.release()));
      expect(readdirSync(folder)).toEqual([]);
    }
  });

  it('is not hindered by sockets that a killed process left, and clears them away', async () => {
    const dead = await staleSocket(join(folder, '.lock.99999.0123abcd'));
    const halfway = await staleSocket(join(folder, '.lock-new.99999.0123abcd'));
    expect(readdirSync(folder)).toEqual([halfway, dead].map((path) => path.slice(folder.length + 1)).sort());
    const lock = await acquireInstanceLock(folder);
    expect(readdirSync(folder)).toHaveLength(1);
    await lock.release();
  });

  it('takes a holder that does not answer for alive', async () => {
    const path = join(folder, '.lock.4242.0123abcd');
    const silent = createServer(() => {});
    await new Promise<void>((done) => silent.listen(path, done));
    expect(await refusal(acquireInstanceLock(folder, { answerTimeoutMs: 200 }))).toMatchObject({
      code: 'FailedPrecondition',
      details: { pid: 4242 },
    });
    await new Promise((done) => silent.close(done));
  });

  it('waits for a holder that was killed and has not quite ended', async () => {
    const connections: Socket[] = [];
    const dying = createServer((socket) => connections.push(socket));
    await new Promise<void>((done) => dying.listen(join(folder, '.lock.4242.0123abcd'), done));
    const lock = acquireInstanceLock(folder);
    await vi.waitFor(() => expect(connections).toHaveLength(1));
    // Longer than an owner that lives takes to answer.
    await delay(2_500);
    dying.close();
    for (const socket of connections) socket.destroy();
    await (await lock).release();
  });

  it('says so when the path is too long for a socket', async () => {
    const error = await refusal(acquireInstanceLock(join(folder, 'x'.repeat(100))));
    expect(error).toMatchObject({ code: 'InvalidArgument', message: expect.stringContaining('too long') });
  });
});

/** A socket file without a listener, as after kill -9: closing unlinks the name that was bound, not the one it has now. */
async function staleSocket(path: string): Promise<string> {
  const { renameSync } = await import('node:fs');
  const server = createServer();
  await new Promise<void>((done) => server.listen(`${path}.bound`, done));
  renameSync(`${path}.bound`, path);
  await new Promise((done) => server.close(done));
  return path;
}
