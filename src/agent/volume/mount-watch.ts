import { type AgentContext, keys } from '../context.ts';
import { topMount } from '../filesystem/mount-table.ts';

const lookEveryMs = 60_000;

/** Finds volumes whose mounts are not what their status says: somebody else unmounted them. Reads the mount table only. */
export class MountWatch {
  readonly #context: AgentContext;
  #cancel: () => void = () => {};
  #stopped = false;

  constructor(context: AgentContext) {
    this.#context = context;
    this.#wait();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #wait(): void {
    this.#cancel = this.#context.deps.clock.after(lookEveryMs, () => {
      if (this.#stopped) return;
      void this.#look().finally(() => {
        if (!this.#stopped) this.#wait();
      });
    });
  }

  async #look(): Promise<void> {
    const { state, deps, trigger } = this.#context;
    const attached = state.ownAttachments().filter((attachment) => attachment.status.phase === 'Attached');
    if (attached.length === 0) return;
    try {
      const mounts = await deps.host.mounts();
      const targets = new Set(mounts.map((mount) => mount.target));
      for (const { spec, status } of attached) {
        const paths = [...status.published, ...(status.stagingPath === undefined ? [] : [status.stagingPath])];
        const staging = status.stagingPath === undefined ? undefined : topMount(mounts, status.stagingPath);
        // The kernel made the file system read-only after an error: the engine's observation says why.
        const fallen = staging !== undefined && !spec.readOnly && staging.superOptions.includes('ro');
        if (fallen || paths.some((path) => !targets.has(path))) trigger(keys.volume(spec.volumeId));
      }
    } catch (err) {
      deps.log.warn({ err }, 'the mount table could not be read');
    }
  }
}
