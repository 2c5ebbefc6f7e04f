import { z } from 'zod';

/** One part of a volume's stack on a node. Lists of layers go from the bottom to the top. */
export const Layer = z.object({
  kind: z.enum(['backing', 'loop', 'lv', 'drbd', 'luks', 'filesystem', 'bind']),
  /** What it is made of: a file, a device, a mount point. */
  name: z.string(),
  /** The device or path that the next layer uses. */
  target: z.string().optional(),
  details: z.record(z.string(), z.string()).default({}),
});
export type Layer = z.infer<typeof Layer>;
