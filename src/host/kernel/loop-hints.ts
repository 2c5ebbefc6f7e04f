import type { KernelCall } from './sync.ts';

const mostRemembered = 10_000;

/** A call and its arguments, single or in a batch. */
interface Made {
  readonly call: KernelCall;
  readonly args: readonly unknown[];
}

/**
 * Which loop device a file had last, over all helper processes. Finding the device of a file that has one takes a look
 * at every loop device of the machine, in each helper anew; with the hint it takes one. Only a hint: whoever gets it
 * looks whether it is still true.
 */
export class LoopHints {
  readonly #devices = new Map<string, string>();

  /** Makes a call with what is known, and learns from its result. */
  async run(call: KernelCall, args: readonly unknown[], make: (args: readonly unknown[]) => Promise<unknown>) {
    if (call === 'batch') {
      const calls = args[0] as readonly Made[];
      const results = (await make([calls.map((one) => this.#hinted(one))])) as readonly (readonly unknown[])[];
      for (const [index, one] of calls.entries()) this.#learn(one, results[index]?.[0]);
      return results;
    }
    const result = await make(this.#hinted({ call, args }).args);
    this.#learn({ call, args }, result);
    return result;
  }

  #hinted(made: Made): Made {
    const [file, options] = made.args;
    if (made.call !== 'findLoop' && made.call !== 'attachLoop') return made;
    const hint = this.#devices.get(String(file));
    return hint === undefined ? made : { ...made, args: [file, { ...(options as object | undefined), hint }] };
  }

  #learn({ call, args }: Made, result: unknown): void {
    if (call !== 'findLoop' && call !== 'attachLoop' && call !== 'detachLoop') return;
    const file = String(call === 'detachLoop' ? args[1] : args[0]);
    const device = (result as { readonly device?: string } | undefined)?.device;
    if (device === undefined) this.#devices.delete(file);
    else if (this.#devices.has(file) || this.#devices.size < mostRemembered) this.#devices.set(file, device);
  }
}
