import type { Volume } from '../../model/kinds.ts';
import type { OperationsContext } from './context.ts';

/** Placing, making and deleting a volume takes milliseconds: a request that comes right after it waits this long at most. */
const patienceMs = 5_000;

/**
 * Waits a short while for a volume that was made a moment ago to come so far; gives up at once when it has a cause.
 *
 * @returns the volume as it is then
 */
export async function waitFor(
  context: OperationsContext,
  volume: Volume,
  enough: (volume: Volume) => boolean,
): Promise<Volume> {
  const { view, deps } = context;
  const { name, uid } = volume.metadata;
  const done = (candidate: Volume | undefined) =>
    candidate?.metadata.uid === uid && (enough(candidate) || candidate.status.causes.length > 0)
      ? candidate
      : undefined;
  const present = done(volume) ?? done(view.volumes.get(name));
  if (present) return present;
  return new Promise((resolve) => {
    let stop: () => void = () => {};
    const end = (result: Volume) => {
      cancel();
      stop();
      resolve(result);
    };
    const cancel = deps.clock.after(patienceMs, () => end(volume));
    stop = view.volumes.onChange(({ object, type }) => {
      if (object.metadata.name !== name) return;
      const result = type === 'deleted' ? object : done(object);
      if (result) queueMicrotask(() => end(result));
    });
  });
}

export const isPlaced = (volume: Volume): boolean => volume.status.replicas.length > 0;
export const hasData = (volume: Volume): boolean => volume.status.sizeBytes > 0;

/** Waits a short while for the deletion of a volume to end, when there is one under way. */
export async function waitForDeletion({ deps }: OperationsContext, name: string): Promise<void> {
  const endMs = deps.clock.nowMs() + patienceMs;
  for (;;) {
    const volume = await deps.store.find('Volume', name);
    if (!volume?.metadata.deletionTimestamp || deps.clock.nowMs() >= endMs) return;
    await new Promise<void>((resolve) => deps.clock.after(20, resolve));
  }
}
