import { chmod, readFile, stat, unlink } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { AzekuraError } from '../model/errors.ts';

const minimumTokenLength = 16;

/** Listens on the unix socket, for its owner only. The instance lock is held, so that a socket that is there is a dead one. */
export async function listenOnSocket(server: FastifyInstance, path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await server.listen({ path });
  await chmod(path, 0o600);
}

/** An address for TCP. @throws AzekuraError InvalidArgument */
export function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port > 65_535) {
    throw new AzekuraError('InvalidArgument', `--listen "${text}" is not an address and port`, {
      next: 'write for example 127.0.0.1:7843 or [::1]:7843',
    });
  }
  return { host, port };
}

/** The token that every caller on TCP must know. @throws AzekuraError when there is none, or others can read it */
export async function readToken(file: string | undefined): Promise<string> {
  if (file === undefined) {
    throw new AzekuraError(
      'InvalidArgument',
      '--listen needs --token-file, since everybody on the network could use the API',
      { next: 'write a random token into a file of mode 0600 and name it' },
    );
  }
  const { mode } = await stat(file).catch((error: NodeJS.ErrnoException) => {
    throw new AzekuraError('InvalidArgument', `the token file ${file} cannot be read: ${error.code ?? error.message}`);
  });
  if ((mode & 0o077) !== 0)
    throw new AzekuraError('FailedPrecondition', `the token file ${file} can be read by others`, {
      next: `chmod 600 ${file}`,
    });
  const token = (await readFile(file, 'utf8')).trim();
  if (token.length < minimumTokenLength) {
    throw new AzekuraError('InvalidArgument', `the token in ${file} has less than ${minimumTokenLength} characters`, {
      next: 'make one with `openssl rand -hex 32`',
    });
  }
  return token;
}
