/** One effect; apply.ts carries it out. Each may be repeated. */
export type Effect =
  /** `durable` unless a later rename with `contents` makes it so: also in write and freshUuid. */
  | { readonly do: 'folder'; readonly path: string; readonly durable: boolean }
  | { readonly do: 'sparse'; readonly path: string; readonly sizeBytes: number; readonly hinted: boolean }
  | { readonly do: 'allocate'; readonly path: string; readonly sizeBytes: number; readonly unshare: boolean }
  | { readonly do: 'truncate'; readonly path: string; readonly sizeBytes: number }
  /** Clones an empty file system, which is made when there is none of this kind and size; not durable by itself. */
  | {
      readonly do: 'template';
      readonly filesystem: 'xfs' | 'ext4';
      readonly sizeBytes: number;
      readonly from: string;
      readonly to: string;
      readonly hinted: boolean;
    }
  /** `live`: in two passes, since the source is written meanwhile. */
  | {
      readonly do: 'clone';
      readonly from: string;
      readonly to: string;
      readonly hinted: boolean;
      readonly live: boolean;
    }
  | {
      readonly do: 'copy';
      readonly from: string;
      readonly to: string;
      readonly sizeBytes: number;
      readonly hinted: boolean;
    }
  /** Like copy, of a file that stays as it is: goes on at `fromBytes`, and writes down how far it is. */
  | {
      readonly do: 'copyOn';
      readonly from: string;
      readonly to: string;
      readonly sizeBytes: number;
      readonly hinted: boolean;
      readonly fromBytes: number;
      readonly note: { readonly path: string; readonly token: string };
    }
  /** Like copy, for a file that differs from `base` in part, of which `previous` is the copy: shares what is the same. */
  | {
      readonly do: 'copyChanges';
      readonly base: string;
      readonly previous: string;
      readonly from: string;
      readonly to: string;
      readonly sizeBytes: number;
      readonly hinted: boolean;
    }
  /** What differs between `base`, of which `to` is a copy, and `from`. */
  | {
      readonly do: 'catchUp';
      readonly base: string;
      readonly from: string;
      readonly to: string;
      readonly sizeBytes: number;
    }
  /** `fresh`: just made, so it is known to be clean; else the file system is asked. */
  | { readonly do: 'freshUuid'; readonly path: string; readonly filesystem: 'xfs' | 'ext4'; readonly fresh: boolean }
  | { readonly do: 'write'; readonly path: string; readonly text: string; readonly durable: boolean }
  /** `contents`: what lies in the folder becomes durable before it gets its new name. */
  | {
      readonly do: 'rename';
      readonly from: string;
      readonly to: string;
      readonly replace?: boolean;
      readonly contents?: boolean;
    }
  | { readonly do: 'remove'; readonly path: string }
  | { readonly do: 'resizeLoop'; readonly device: string };

/** Neighbours with the same name are carried out as one step, in one round trip where that is possible. */
export interface Step {
  /** "file.<operation>.<step>", stable. */
  readonly name: string;
  readonly effect: Effect;
}

export type Plan = readonly Step[];

export function step(name: string, effect: Effect): Step {
  return { name: `file.${name}`, effect };
}
