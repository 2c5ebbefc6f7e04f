import type { FoundGroup } from '../engines/lvm/find.ts';
import type { Kernel } from '../host/kernel.ts';
import type { RescuedPool, RescuedVolume } from './report.ts';

/** Something that may be a pool. */
export interface Candidate {
  readonly place: string;
  /** group: a volume group; the place is one of its disks. */
  readonly kind: 'directory' | 'image' | 'device' | 'group';
}

/** A pool whose folder can be read now. */
export interface PoolView {
  readonly candidate: Candidate;
  /** The pool's folder: the place itself, a mount of the daemon, or a temporary mount of ours. */
  readonly root: string;
  readonly kernel: Kernel;
  /** Changes wait in the journal that this view does not show. */
  readonly journalDirty: boolean;
  /** The view is the running system's own, not a frozen look from outside. */
  readonly live: boolean;
  /** Of a volume group. */
  readonly group?: FoundGroup;
}

/** What one pool holds. */
export interface PoolContents {
  readonly pool: RescuedPool;
  readonly volumes: readonly RescuedVolume[];
  readonly warnings: readonly string[];
}
