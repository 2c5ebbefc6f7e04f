import type { Kernel } from '../kernel.ts';

/** The Kernel interface as it is inside the helper process: the same calls, answering at once. */
export type SyncKernel = {
  readonly [Call in keyof Kernel]: (...args: Parameters<Kernel[Call]>) => Awaited<ReturnType<Kernel[Call]>>;
};

export type KernelCall = keyof Kernel;

// A record, not a list: the compiler refuses it when a method of Kernel is missing here.
const calls: Record<KernelCall, true> = {
  batch: true,
  readTextFile: true,
  requireText: true,
  writeTextFile: true,
  makeDirectory: true,
  listDirectory: true,
  removeTree: true,
  rename: true,
  stat: true,
  resolve: true,
  statfs: true,
  sync: true,
  createSparse: true,
  allocate: true,
  truncate: true,
  clone: true,
  cloneRange: true,
  copyRange: true,
  extentUsage: true,
  allocatedRanges: true,
  changedRanges: true,
  freePreallocation: true,
  setFilesystemUuid: true,
  probeFilesystem: true,
  readLvmLabel: true,
  canClone: true,
  findLoop: true,
  attachLoop: true,
  detachLoop: true,
  resizeLoop: true,
  changeLoopFile: true,
  mount: true,
  bindMount: true,
  unmount: true,
  makeMountPoint: true,
  removeMountPoint: true,
  freeze: true,
  thaw: true,
  trim: true,
  growFilesystem: true,
  giveToGroup: true,
};

/** Names of all kernel calls. */
export const kernelCalls = Object.keys(calls) as readonly KernelCall[];

/** Whether a name that came from outside is a kernel call. */
export function isKernelCall(name: string): name is KernelCall {
  return Object.hasOwn(calls, name);
}

type Run = (call: KernelCall, args: readonly unknown[]) => Promise<unknown>;

/** Makes a Kernel of which every method goes through one function. */
export function kernelOver(run: Run): Kernel {
  return Object.create(forwarding, { run: { value: run } }) as Kernel;
}

// One prototype for all domains: kernel(domain) is called for each operation and must cost next to nothing.
const forwarding = Object.fromEntries(
  kernelCalls.map((call) => [
    call,
    function forward(this: { readonly run: Run }, ...args: unknown[]) {
      return call === 'batch' ? this.run(call, args).then(unboxed) : this.run(call, args);
    },
  ]),
);

/** JSON has no undefined among the items of a list, so each result of a batch travels in a list of its own. */
export function boxed(result: unknown): readonly unknown[] {
  return result === undefined ? [] : [result];
}

function unboxed(results: unknown): readonly unknown[] {
  return (results as readonly (readonly unknown[])[]).map(([result]) => result);
}
