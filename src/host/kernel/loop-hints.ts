import { basename } from 'node:path';
import type { LoopDevice } from '../kernel.ts';
import { readLoop } from '../loops.ts';
import type { KernelCall } from './sync.ts';

const mostRemembered = 10_000;

/** A call and its arguments, single or in a batch. */
interface Made {
  readonly call: KernelCall;
  readonly args: readonly unknown[];
}

/** The path as the kernel knows it, and the device; undefined for a file that had none. */
type Known = (Pick<LoopDevice, 'device' | 'backingFile'> & Partial<LoopDevice>) | undefined;

/**
 * Which loop device a file had last, over all helper processes. Finding the device of a file that has one takes a look
 * at every loop device of the machine, in each helper anew; with the hint it takes one. Only a hint: whoever gets it
 * looks whether it is still true.
 */
export class LoopHints {
  readonly #root: string;
  readonly #known = new Map<string, Known>();

  /** @param root "/sys", or a copy of parts of it in tests */
  constructor(root: string) {
    this.#root = root;
  }

  /** Makes a call with what is known, and learns from its result. */
  async run(
    call: KernelCall,
    args: readonly unknown[],
    make: (args: readonly unknown[]) => Promise<unknown>,
  ): Promise<unknown> {
    if (call === 'batch') {
      const calls = args[0] as readonly Made[];
      if (!calls.some((one) => concerns(one.call))) return make(args);
      for (const one of calls) this.#doubt(one);
      const results = (await make([calls.map((one) => this.#hinted(one))])) as readonly (readonly unknown[])[];
      for (const [index, one] of calls.entries()) this.#learn(one, results[index]?.[0]);
      return results;
    }
    if (!concerns(call)) return make(args);
    const made = { call, args };
    this.#doubt(made);
    const result = await make(this.#hinted(made).args);
    this.#learn(made, result);
    return result;
  }

  /** See Host.glanceAtLoop. */
  glance(file: string): { readonly loop: LoopDevice | undefined } | undefined {
    if (!this.#known.has(file)) return undefined;
    const known = this.#known.get(file);
    if (!known) return { loop: undefined };
    const loop = readLoop(this.#root, basename(known.device), known as LoopDevice);
    if (loop?.backingFile !== known.backingFile || loop.backingDeleted) return undefined;
    this.#known.set(file, loop);
    return { loop };
  }

  /** Until a call that attaches or detaches has answered, nobody knows. */
  #doubt({ call, args }: Made): void {
    const file = fileOf(call, args);
    if (call === 'changeLoopFile') this.#known.delete(file);
    else if (call !== 'findLoop' && this.#known.get(file) === undefined) this.#known.delete(file);
  }

  #hinted(made: Made): Made {
    if (made.call !== 'findLoop' && made.call !== 'attachLoop') return made;
    const [file, options] = made.args;
    const hint = this.#known.get(String(file))?.device;
    return hint === undefined ? made : { ...made, args: [file, { ...(options as object | undefined), hint }] };
  }

  #learn({ call, args }: Made, result: unknown): void {
    if (!concerns(call) || call === 'changeLoopFile') return;
    const file = fileOf(call, args);
    if (this.#known.has(file) || this.#known.size < mostRemembered) this.#known.set(file, result as Known);
  }
}

function concerns(call: KernelCall): boolean {
  return call === 'findLoop' || call === 'attachLoop' || call === 'detachLoop' || call === 'changeLoopFile';
}

function fileOf(call: KernelCall, args: readonly unknown[]): string {
  return String(call === 'detachLoop' || call === 'changeLoopFile' ? args[1] : args[0]);
}
