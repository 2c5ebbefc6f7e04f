import { bytesFromDisks, wantedLayout } from '../model/disk-layout.ts';
import { headerBytesOf } from '../model/policy.ts';
import type { Lot } from './lot.ts';
import { type ClaimRequest, isOpenTo, roomFor } from './obstacles.ts';
import type { Stock } from './stock.ts';

/** What is free for volumes of a class. */
export interface ClassCapacity {
  /** Bytes that are free now, over all pools that would do. */
  readonly availableBytes: number;
  /** The largest volume that one of the pools could take; with thin volumes more than is free. */
  readonly maximumBytes: number;
}

/** What is free for such claims on one node; on all nodes when none is named. */
export function capacityFor(
  claim: Omit<ClaimRequest, 'sizeBytes'>,
  nodeName: string | undefined,
  stock: Stock,
): ClassCapacity {
  let availableBytes = 0;
  let maximumBytes = 0;
  const take = (lot: Lot) => {
    if (!isOpenTo(claim, lot)) return;
    const { room, disks } = lot;
    const { policy } = claim;
    availableBytes +=
      policy.provisioning === 'thick'
        ? bytesFromDisks(room.thickFreeBytes, wantedLayout(policy), disks)
        : room.freeBytes;
    maximumBytes = Math.max(maximumBytes, roomFor(policy, room, disks) - headerBytesOf(policy));
  };
  for (const name of nodeName === undefined ? stock.nodeNames() : [nodeName]) stock.lotsOn(name).forEach(take);
  return { availableBytes, maximumBytes };
}
