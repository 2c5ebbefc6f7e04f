import { AzekuraError } from '../../model/errors.ts';

/**
 * Who works on what. Nobody waits: who comes second is told ABORTED and tries again, as CSI foresees it, so that no queue
 * can grow. Several may share a key (publishing one volume at different paths); one alone may hold it exclusively.
 */
export class OperationLocks {
  /** -1: held exclusively; n: shared by n. */
  readonly #held = new Map<string, number>();

  /**
   * Runs the work while holding all keys.
   *
   * @throws AzekuraError Aborted at once when one of them is held; whatever the work throws
   */
  async run<T>(
    keys: { readonly exclusive?: readonly string[]; readonly shared?: readonly string[] },
    work: () => Promise<T>,
  ): Promise<T> {
    const exclusive = [...new Set(keys.exclusive ?? [])];
    const shared = [...new Set(keys.shared ?? [])];
    const busy = exclusive.find((key) => this.#held.has(key)) ?? shared.find((key) => this.#held.get(key) === -1);
    if (busy !== undefined)
      throw new AzekuraError('Aborted', 'another call works on the same thing', { next: 'try again' });
    for (const key of exclusive) this.#held.set(key, -1);
    for (const key of shared) this.#held.set(key, (this.#held.get(key) ?? 0) + 1);
    try {
      return await work();
    } finally {
      for (const key of exclusive) this.#held.delete(key);
      for (const key of shared) this.#release(key);
    }
  }

  #release(key: string): void {
    const left = (this.#held.get(key) ?? 1) - 1;
    if (left === 0) this.#held.delete(key);
    else this.#held.set(key, left);
  }
}
