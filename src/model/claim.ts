import { z } from 'zod';

/** The Kubernetes claim that a volume belongs to. Written beside the data. */
export const ClaimRef = z.object({
  namespace: z.string().max(63),
  name: z.string().max(253),
  uid: z.string().max(64).optional(),
  labels: z.record(z.string(), z.string()).optional(),
});
export type ClaimRef = z.infer<typeof ClaimRef>;
