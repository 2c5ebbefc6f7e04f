/**
 * The process that is the disk: `server.ts MOUNTPOINT BASE SIZE [LOG]`. It has one thread that waits for requests of the
 * kernel and for commands on standard input, one a line; each is answered by one line of JSON. When standard input ends,
 * because the test has ended or died, the disk unmounts itself and goes.
 */
import { readSync, writeSync } from 'node:fs';
import { LogWriter } from '../write-log.ts';
import { Disk } from './disk.ts';
import { mountFuse, unmountLazily, waitReadable } from './kernel.ts';
import { Session } from './session.ts';

const [mountPoint, basePath, size, logPath] = process.argv.slice(2);
if (!mountPoint || !basePath || !size) throw new Error('usage: server.ts MOUNTPOINT BASE SIZE [LOG]');
const diskBytes = Number(size);
const disk = new Disk(basePath, diskBytes, logPath ? new LogWriter(logPath, diskBytes) : undefined);
const fuse = mountFuse(mountPoint);
const session = new Session(fuse, disk);

function carryOut(line: string): object {
  const [command, argument] = line.split(' ');
  switch (command) {
    case 'hang':
      disk.fault = 'hang';
      return {};
    case 'fail':
      disk.fault = 'fail';
      return {};
    case 'fill':
      disk.fault = 'fill';
      return {};
    case 'resume': {
      disk.fault = 'none';
      const released = session.heldRequests;
      session.release();
      return { released };
    }
    case 'slow':
      disk.delayMs = Number(argument);
      return {};
    case 'ignore-flush':
      disk.ignoreFlush = argument === 'on';
      return {};
    case 'status':
      return { ...disk.counts, fault: disk.fault, held: session.heldRequests };
    default:
      return { error: `unknown command ${line}` };
  }
}

function answer(value: object): void {
  writeSync(1, `${JSON.stringify(value)}\n`);
}

let pendingInput = '';
const inputBuffer = Buffer.alloc(4096);

/** Whether there may be more to come. */
function readCommands(): boolean {
  const count = readSync(0, inputBuffer, 0, inputBuffer.length, null);
  if (count === 0) return false;
  const lines = (pendingInput + inputBuffer.toString('utf8', 0, count)).split('\n');
  pendingInput = lines.pop() ?? '';
  for (const line of lines) answer(carryOut(line));
  return true;
}

answer({ ready: true });
let commanded = true;
while (!session.ended && commanded) {
  const [request, command] = waitReadable([fuse, 0], -1);
  if (command) commanded = readCommands();
  if (request) session.serve();
}
unmountLazily(mountPoint);
process.exit(0);
