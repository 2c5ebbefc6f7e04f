import { readSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { kernelCallsHere } from './calls.ts';
import { dieWithParent } from './libc.ts';
import { type KernelReply, type KernelRequest, LineReader } from './protocol.ts';
import { failureOf } from './raise.ts';
import { isKernelCall, type SyncKernel } from './sync.ts';

/**
 * The helper process: reads a request from standard input, makes the call, writes the reply, and again. It has no event
 * loop to block and ends when its input ends, so it never outlives the daemon; when the daemon is killed the kernel
 * kills it too, so that no call of a dead daemon is still made after its successor has started.
 */
function main(): void {
  // Most errors here are answers, such as ENOENT, and taking a stack costs more than the call.
  Error.stackTraceLimit = 0;
  const parent = Number(process.argv[2]);
  dieWithParent(constants.signals.SIGKILL);
  // The daemon may have died before the line above.
  if (process.ppid !== parent) return;
  const kernel = kernelCallsHere();
  const reader = new LineReader();
  const buffer = new Uint8Array(256 * 1024);
  send({});
  for (;;) {
    const count = readSync(0, buffer);
    if (count === 0) return;
    for (const line of reader.push(buffer.subarray(0, count))) send(answer(kernel, JSON.parse(line) as KernelRequest));
  }
}

function answer(kernel: SyncKernel, { call, args }: KernelRequest): KernelReply {
  try {
    if (!isKernelCall(call)) throw new Error(`there is no kernel call ${String(call)}`);
    return { result: (kernel[call] as (...args: readonly unknown[]) => unknown)(...args) };
  } catch (error) {
    return { failure: failureOf(error, call, String(args[0])) };
  }
}

function send(reply: KernelReply): void {
  const bytes = Buffer.from(`${JSON.stringify(reply)}\n`);
  for (let done = 0; done < bytes.length; ) done += writeSync(1, bytes, done);
}

main();
