/** One client among several: gives a sequence of calls, disturbed in many manners, and compares each answer with the model's. */
import { mkdirSync } from 'node:fs';
import { sleep } from '../workbench.ts';
import { CallError } from './client.ts';
import { type Command, Model, type Step, stagingPath, stepOf, takeDown, type World } from './model.ts';
import { isIndefinite, persistCall } from './persist.ts';

/** How a command is given: once, twice at the same time, cancelled after a while, or with a kill -9 in the middle. */
export type Manner =
  | { readonly how: 'once' | 'twice' }
  | { readonly how: 'cancelled' | 'killed'; readonly afterMs: number };

export type Sequence = readonly { readonly command: Command; readonly manner: Manner }[];

/** CSI names of volumes; commands have their numbers, which also name the paths. */
const volumeNames = ['vol-a', 'Vol B/ü', 'v'.repeat(128)];
/** What commands call the volumes. */
export const volumes = ['0', '1', '2'] as const;
export const snapshots = ['snap-1', 'snap-2'] as const;
export const targets = ['t1', 't2'] as const;

/** Without a volume all other calls are NOT_FOUND, and teach little. */
const beginning: Sequence = [{ command: { do: 'createVolume', name: '0', sizeMib: 512 }, manner: { how: 'once' } }];

export class Player {
  readonly model = new Model();
  /** Calls without a definite answer so far. */
  interrupted = 0;
  readonly #world: World;
  readonly #kill: () => Promise<void>;

  /** @param kill ends the process that answers, and has it started again */
  constructor(world: World, kill: () => Promise<void>) {
    this.#world = world;
    this.#kill = kill;
    for (const name of volumes) mkdirSync(stagingPath(world, name), { recursive: true });
  }

  /** @throws the first answer that is not the model's */
  async play(sequence: Sequence): Promise<void> {
    for (const { command, manner } of [...beginning, ...sequence]) await this.#run(command, manner);
  }

  /** Takes down what the sequence has left. @throws the first answer that is not the model's */
  async clear(): Promise<void> {
    for (const command of takeDown(this.model, targets)) await this.#run(command, { how: 'once' });
  }

  /** The mounts that there must be. */
  mounts(): string[] {
    return [...this.model.volumes].flatMap(([name, { staged, targets: shown }]) =>
      staged ? [stagingPath(this.#world, name), ...shown] : [...shown],
    );
  }

  async #run(command: Command, manner: Manner): Promise<void> {
    const name = 'name' in command ? (volumeNames[Number(command.name)] ?? '') : '';
    const step = stepOf(command, this.model, this.#world, `${this.#world.prefix}${name}`.slice(0, 128));
    const { code, answer } = await this.#give(step, manner);
    if (code !== step.expected)
      throw new Error(`${JSON.stringify(command)} answered ${code}, and ${step.expected} was expected`);
    if (code === 'OK') step.apply(answer);
  }

  /** Gives the command in its manner, and then until it has a definite answer. @returns the code, and the answer when OK */
  async #give(step: Step, manner: Manner): Promise<{ code: string; answer?: unknown }> {
    await this.#disturbed(step, manner);
    try {
      return { code: 'OK', answer: await persistCall(() => step.call({ deadlineMs: 20_000 })) };
    } catch (error) {
      return { code: codeOf(error) };
    }
  }

  /** The part that is disturbed: whatever it is answered must be what is expected, or say that nothing is certain. */
  async #disturbed(step: Step, manner: Manner): Promise<void> {
    switch (manner.how) {
      case 'once':
        return;
      case 'twice':
        await Promise.all([this.#admit(step, {}), this.#admit(step, {})]);
        return;
      case 'cancelled': {
        const abort = new AbortController();
        const running = this.#admit(step, { signal: abort.signal });
        await sleep(manner.afterMs);
        abort.abort();
        await running;
        return;
      }
      case 'killed': {
        const running = this.#admit(step, { deadlineMs: 5_000 });
        await sleep(manner.afterMs);
        await this.#kill();
        await running;
        return;
      }
    }
  }

  async #admit(step: Step, options: Parameters<Step['call']>[0]): Promise<void> {
    let code = 'OK';
    try {
      await step.call(options);
    } catch (error) {
      if (isIndefinite(error)) {
        this.interrupted += 1;
        return;
      }
      code = codeOf(error);
    }
    if (code !== step.expected) throw new Error(`a disturbed call answered ${code}, and ${step.expected} was expected`);
  }
}

function codeOf(error: unknown): string {
  if (error instanceof CallError) return error.codeName;
  throw error;
}
