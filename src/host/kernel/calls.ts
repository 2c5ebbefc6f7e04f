import type { BatchCall } from '../kernel.ts';
import { backingCalls } from './backing.ts';
import { extentCalls } from './fiemap.ts';
import { fileCalls } from './files.ts';
import { filesystemCalls } from './filesystems.ts';
import { groupCalls } from './group.ts';
import { loopCalls } from './loop-devices.ts';
import { mountCalls } from './mounts.ts';
import { boxed, isKernelCall, type SyncKernel } from './sync.ts';

/** All kernel calls, for real, in this process and thread: each may block for ever. @throws KernelFailureError or an error of node:fs */
export function kernelCallsHere(): SyncKernel {
  const single: Omit<SyncKernel, 'batch'> = {
    ...fileCalls(),
    ...backingCalls(),
    ...extentCalls(),
    ...loopCalls(),
    ...mountCalls(),
    ...groupCalls(),
    ...filesystemCalls(),
  };
  return { ...single, batch: (calls) => runBatch(single, calls) };
}

function runBatch(kernel: Omit<SyncKernel, 'batch'>, calls: readonly BatchCall[]): never[] {
  const results = calls.map(({ call, args }) => {
    if (!isKernelCall(call) || !Object.hasOwn(kernel, call)) throw new Error(`there is no kernel call ${String(call)}`);
    return boxed((kernel[call] as (...args: readonly unknown[]) => unknown)(...args));
  });
  // Boxed for the way to the daemon, which the types do not know: kernelOver() opens the boxes.
  return results as never[];
}
