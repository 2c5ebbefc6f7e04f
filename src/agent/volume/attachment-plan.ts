import type { Publication } from '../../model/attachment.ts';

/** What is really there of an attachment. */
export interface SeenAttachment {
  /** The engine's device of the volume on this node. */
  readonly device?:
    | {
        readonly path: string;
        readonly readOnly: boolean;
        /** Only a lower part of the stack is up. */
        readonly partial?: boolean;
      }
    | undefined;
  /** ours: shows this volume's device. stale: shows something else that the agent put there (a device that was lost). */
  readonly staging: 'none' | 'ours' | 'stale';
  readonly stagingReadOnly: boolean;
  /** At each path that is wanted or recorded. foreign: somebody else's mount covers it. */
  readonly publications: ReadonlyMap<
    string,
    { readonly state: 'none' | 'ours' | 'stale' | 'foreign'; readonly readOnly: boolean }
  >;
  /** Paths that the record says the agent has prepared. */
  readonly recorded: readonly string[];
}

/** What is wanted of it. Undefined fields of a detached one do not matter. */
export interface WantedAttachment {
  readonly attached: boolean;
  readonly access: 'filesystem' | 'block';
  readonly readOnly: boolean;
  /** False while only the device is wanted. */
  readonly staged: boolean;
  /** The device can be made only while it is staged: what it takes, such as a key, comes with that request. */
  readonly madeWhenStaged?: boolean;
  readonly published: readonly Publication[];
}

export type AttachmentStep =
  | { readonly do: 'unpublish'; readonly path: string; readonly mounted: boolean }
  | { readonly do: 'unstage' }
  | { readonly do: 'detach' }
  | { readonly do: 'attach' }
  | { readonly do: 'stage' }
  | {
      readonly do: 'publish';
      readonly path: string;
      readonly readOnly: boolean;
      /** The group that the file system is given to before anybody sees it there. */
      readonly mountGroup?: number;
    };

/**
 * The steps from what is seen to what is wanted, in their order: from the top of the stack down, then up again. Empty
 * when all is as it should be.
 */
export function planAttachment(wanted: WantedAttachment, seen: SeenAttachment): readonly AttachmentStep[] {
  const steps: AttachmentStep[] = [];
  const filesystem = wanted.attached && wanted.staged && wanted.access === 'filesystem';
  const wantedPaths = new Map(
    wanted.attached && wanted.staged
      ? wanted.published.map((one) => [one.path, { ...one, readOnly: one.readOnly || wanted.readOnly }])
      : [],
  );
  const deviceWrong = seen.device !== undefined && (!wanted.attached || seen.device.readOnly !== wanted.readOnly);
  const stagingWrong =
    seen.staging === 'stale' ||
    (seen.staging === 'ours' &&
      (!filesystem || deviceWrong || seen.stagingReadOnly !== wanted.readOnly || seen.device === undefined));

  const standing = new Set<string>();
  for (const path of new Set([...seen.publications.keys(), ...seen.recorded])) {
    const there = seen.publications.get(path) ?? { state: 'none' as const, readOnly: false };
    const readOnly = wantedPaths.get(path)?.readOnly;
    const right = there.state === 'ours' && readOnly === there.readOnly && !stagingWrong && !deviceWrong;
    const mounted = there.state === 'ours' || there.state === 'stale';
    if (right) standing.add(path);
    else if (mounted || (readOnly === undefined && seen.recorded.includes(path)))
      steps.push({ do: 'unpublish', path, mounted });
  }
  if (stagingWrong) steps.push({ do: 'unstage' });
  if (deviceWrong) steps.push({ do: 'detach' });
  if (!wanted.attached) return steps;

  const deviceDue = wanted.staged || !wanted.madeWhenStaged;
  if (deviceDue && (seen.device === undefined || seen.device.partial || deviceWrong)) steps.push({ do: 'attach' });
  if (filesystem && (seen.staging !== 'ours' || stagingWrong)) steps.push({ do: 'stage' });
  for (const { path, readOnly, mountGroup } of wantedPaths.values()) {
    if (standing.has(path)) continue;
    const given = filesystem && !readOnly && mountGroup !== undefined ? { mountGroup } : {};
    steps.push({ do: 'publish', path, readOnly, ...given });
  }
  return steps;
}
