import { z } from 'zod';
import { Bytes, Name } from './meta.ts';
import { DiskLayout } from './pool.ts';

/** A reservation: capacity promised to a replica that its pool's observed figures do not yet show. */
export const LedgerEntry = z.object({
  poolName: Name,
  replicaName: Name,
  /** Bytes that will be allocated at once (thick), else 0. */
  allocatedBytes: Bytes,
  /** Bytes that are promised. */
  promisedBytes: Bytes,
  /** How a thick volume lies on the pool's disks, which may take more of them than its bytes. */
  layout: z.object({ type: DiskLayout, stripes: z.int().optional(), mirrors: z.int().optional() }).optional(),
});
export type LedgerEntry = z.infer<typeof LedgerEntry>;
