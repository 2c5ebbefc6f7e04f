import { z } from 'zod';
import { Bytes, Name } from './meta.ts';

/** A reservation: capacity promised to a replica that its pool's observed figures do not yet show. */
export const LedgerEntry = z.object({
  poolName: Name,
  replicaName: Name,
  /** Bytes that will be allocated at once (thick), else 0. */
  allocatedBytes: Bytes,
  /** Bytes that are promised. */
  promisedBytes: Bytes,
});
export type LedgerEntry = z.infer<typeof LedgerEntry>;
