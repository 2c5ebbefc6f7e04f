import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, rename, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AzekuraError } from '../../model/errors.ts';

/**
 * One process per folder, without flock(2), which Node lacks. Each process listens on a unix socket of its own, unique
 * name in the folder. The kernel ends listening with the process, whatever its end, so a socket that refuses is a dead
 * one; as names are never used twice, removing a dead one can hurt nobody. Unlike an abstract socket this also holds
 * between network namespaces, and unlike a pid file between pid namespaces.
 *
 * Who may hold the folder is settled as in Lamport's bakery: first announce (socket in place, "claiming"), then look at
 * the others. An owner wins; of two that claim the smaller name wins, but only after the larger one has given up,
 * because that one may have looked before the smaller was announced.
 */
export interface InstanceLock {
  /** Gives the folder back. May be called twice. */
  release(): Promise<void>;
}

/** sockaddr_un.sun_path has 108 bytes with the terminating zero: unix(7). */
const maximumSocketPathBytes = 107;
/** A killed process may need seconds until the kernel has ended it, on a loaded machine or above a slow disk. */
const defaultAnswerTimeoutMs = 15_000;
const pollMs = 20;
const announced = /^\.lock\.(\d+)\.[0-9a-f]{8}$/;
const unannounced = /^\.lock-new\.\d+\.[0-9a-f]{8}$/;

type Standing = 'claiming' | 'owner' | 'dead';

/**
 * Takes the folder, which is made when it is missing (mode 0700).
 *
 * @param directory the folder that belongs to one instance
 * @param options.answerTimeoutMs how long a holder that does not answer is waited for
 * @throws AzekuraError FailedPrecondition when another live process holds it, naming its pid; InvalidArgument when the
 * path is too long for a socket
 */
export async function acquireInstanceLock(
  directory: string,
  { answerTimeoutMs = defaultAnswerTimeoutMs }: { readonly answerTimeoutMs?: number } = {},
): Promise<InstanceLock> {
  const folder = resolve(directory);
  const id = `${process.pid}.${randomBytes(4).toString('hex')}`;
  const name = `.lock.${id}`;
  const before = join(folder, `.lock-new.${id}`);
  if (Buffer.byteLength(before) > maximumSocketPathBytes) {
    throw new AzekuraError('InvalidArgument', `the path ${folder} is too long to hold a unix socket`, {
      next: 'choose a data folder with a shorter path (at most 80 bytes)',
    });
  }
  await mkdir(folder, { recursive: true, mode: 0o700 });

  let standing: Standing = 'claiming';
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(standing);
  });
  const release = async () => {
    await unlink(join(folder, name)).catch(() => {});
    await closeServer(server);
  };
  await listen(server, before);
  try {
    await chmod(before, 0o600);
    // Only a socket that listens already gets a name that others judge by whether it answers.
    await rename(before, join(folder, name));
    await outlast(folder, name, answerTimeoutMs);
    standing = 'owner';
    await sweep(folder, answerTimeoutMs);
    return { release };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Returns when no other live process holds or claims the folder. */
async function outlast(folder: string, own: string, answerTimeoutMs: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = announced.exec(name)?.[1];
    if (pid === undefined || name === own) continue;
    let standing = await standingOf(join(folder, name), answerTimeoutMs);
    while (standing === 'claiming' && own < name) {
      await delay(pollMs);
      standing = await standingOf(join(folder, name), answerTimeoutMs);
    }
    if (standing === 'dead') await unlink(join(folder, name)).catch(() => {});
    else throw held(folder, pid);
  }
}

function held(folder: string, pid: string): AzekuraError {
  return new AzekuraError('FailedPrecondition', `${folder} is in use by another azekura process, pid ${pid}`, {
    next: `stop it (Ctrl-C, \`systemctl stop azekura\`, or process ${pid}), or choose another folder with --data-dir`,
    details: { pid: Number(pid), path: folder },
  });
}

/** Removes what processes left that were killed between binding and announcing. */
async function sweep(folder: string, answerTimeoutMs: number): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!unannounced.test(name)) continue;
    if ((await standingOf(join(folder, name), answerTimeoutMs)) === 'dead')
      await unlink(join(folder, name)).catch(() => {});
  }
}

/**
 * A process that does not answer in time, stopped or busy, counts as an owner: it still holds what it held. One whose
 * connection breaks is just ending, so it is asked again.
 */
async function standingOf(path: string, answerTimeoutMs: number): Promise<Standing> {
  const giveUpAt = performance.now() + answerTimeoutMs;
  for (;;) {
    const standing = await ask(path, Math.max(giveUpAt - performance.now(), 1));
    if (standing) return standing;
    if (performance.now() >= giveUpAt) return 'owner';
    await delay(pollMs);
  }
}

function ask(path: string, timeoutMs: number): Promise<Standing | undefined> {
  return new Promise((done) => {
    let answer = '';
    const socket = connect(path);
    socket.setTimeout(timeoutMs, () => {
      done('owner');
      socket.destroy();
    });
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      answer += text;
    });
    socket.on('end', () => done(answer === 'claiming' || answer === 'owner' ? answer : undefined));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') done('dead');
      else done(error.code === 'ECONNRESET' || error.code === 'EPIPE' ? undefined : 'owner');
    });
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(path, () => {
      server.off('error', fail);
      // The lock does not keep a process alive that has nothing else to do.
      server.unref();
      done();
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((done) => server.close(() => done()));
}
