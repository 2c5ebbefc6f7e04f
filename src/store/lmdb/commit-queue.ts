import { statfs } from 'node:fs/promises';
import type { RootDatabase } from 'lmdb';
import { AzekuraError } from '../../model/errors.ts';

/** Most operations of one transaction: bounds how long readers of the event loop wait. */
const batchSize = 256;
/** With less free space than this a failed write is put down to a full disk. */
const roomBytes = 2 ** 20;

interface Pending {
  readonly run: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

type Outcome = { readonly value: unknown } | { readonly error: AzekuraError };

/**
 * Group commit: what arrives while a transaction is being flushed goes into the next one together, so that many writers
 * share one flush. A promise resolves after the flush.
 */
export class CommitQueue {
  readonly #root: RootDatabase<string, string>;
  readonly #folder: string;
  readonly #afterCommit: () => void;
  readonly #afterFailure: () => void;
  #waiting: Pending[] = [];
  #running: Promise<void> | undefined;

  /**
   * @param folder where the database lies
   * @param hooks.committed called after each flushed transaction, before the writers' promises resolve
   * @param hooks.failed called after each transaction of which nothing was written
   */
  constructor(
    root: RootDatabase<string, string>,
    folder: string,
    hooks: { readonly committed: () => void; readonly failed: () => void },
  ) {
    this.#root = root;
    this.#folder = folder;
    this.#afterCommit = hooks.committed;
    this.#afterFailure = hooks.failed;
  }

  /**
   * Runs a function inside a write transaction. An AzekuraError that it throws is its answer and must come before its
   * first write; anything else it throws takes back what it wrote.
   *
   * @throws AzekuraError what the function throws; ResourceExhausted or HostFailure when the transaction cannot be written
   */
  submit<T>(run: () => T): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => {
      this.#waiting.push({ run, resolve: resolve as (value: unknown) => void, reject });
    });
    this.#running ??= this.#drain();
    return promise;
  }

  /** Resolves when nothing is left to write. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #drain(): Promise<void> {
    // Lets all writers of this turn of the event loop join the first transaction, also those that come to it over some
    // promises: what belongs together is then durable together, for the price of one flush.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) await this.#commit(this.#waiting.splice(0, batchSize));
    this.#running = undefined;
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    let outcomes: Outcome[] = [];
    let failed: { readonly error: unknown } | undefined;
    try {
      await this.#root.childTransaction(() => {
        try {
          outcomes = batch.map(({ run }) => outcomeOf(run));
        } catch (error) {
          failed = { error };
          throw error;
        }
      });
    } catch (error) {
      this.#afterFailure();
      // One operation that fails in the middle must not take its neighbours along: each gets a transaction of its own.
      if (failed && batch.length > 1) {
        for (const one of batch) await this.#commit([one]);
        return;
      }
      const reason = failed ? asInternal(failed.error) : await notWritten(error, this.#folder);
      for (const { reject } of batch) reject(reason);
      return;
    }
    this.#root.resetReadTxn();
    this.#afterCommit();
    for (const [index, { resolve, reject }] of batch.entries()) {
      const outcome = outcomes[index];
      if (outcome && 'value' in outcome) resolve(outcome.value);
      else reject(outcome?.error);
    }
  }
}

function outcomeOf(run: () => unknown): Outcome {
  try {
    return { value: run() };
  } catch (error) {
    if (error instanceof AzekuraError) return { error };
    throw error;
  }
}

function asInternal(error: unknown): AzekuraError {
  const problem = error instanceof Error ? error.message : String(error);
  return new AzekuraError('Internal', `the change could not be stored: ${problem}`, { cause: error });
}

async function notWritten(error: unknown, folder: string): Promise<AzekuraError> {
  // lmdb puts the reason of a failed commit into a promise on the error that rejects.
  let reason = error;
  if (error instanceof Error && 'commitError' in error) {
    reason = await Promise.resolve(error.commitError).catch((inner: unknown) => inner);
  }
  if (await isFull(folder)) {
    return new AzekuraError(
      'ResourceExhausted',
      `the state could not be written: the file system of ${folder} is full`,
      {
        next: `free space in the file system of ${folder}`,
        cause: reason,
      },
    );
  }
  const problem = reason instanceof Error ? reason.message : String(reason);
  return new AzekuraError('HostFailure', `the state in ${folder} could not be written: ${problem}`, {
    next: `check the disk that holds ${folder}`,
    cause: reason,
  });
}

/** Asked of the file system, since LMDB calls a write that was cut short by a full disk EIO. */
async function isFull(folder: string): Promise<boolean> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize < roomBytes;
}
