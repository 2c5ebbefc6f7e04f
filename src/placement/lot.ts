import type { Node, Pool } from '../model/kinds.ts';
import type { Room } from './capacity.ts';

/** A pool as placement sees it: what its questions are about, side by side, since ten thousand are looked at at once. */
export interface Lot {
  readonly pool: Pool;
  readonly node: Node | undefined;
  readonly name: string;
  readonly engine: string;
  readonly deviceClass: string | undefined;
  /** Whether pool and node take new volumes at all. */
  readonly open: boolean;
  readonly room: Room;
  /** That are there. */
  readonly disks: number;
}
