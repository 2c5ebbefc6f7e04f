import { z } from 'zod';
import { Policy } from './policy.ts';

export const ClassSpec = Policy.extend({
  isDefault: z.boolean().default(false).describe('Used when a volume names no class'),
  recycleMs: z
    .int()
    .min(0)
    .default(24 * 3_600_000)
    .describe('How long a deleted volume rests in the recycle bin; 0 deletes at once'),
  description: z.string().max(256).default(''),
}).strict();
export const ClassStatus = z.object({ volumes: z.int().min(0).default(0) });
export type ClassSpec = z.infer<typeof ClassSpec>;
export type ClassStatus = z.infer<typeof ClassStatus>;
