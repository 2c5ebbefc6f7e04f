import { z } from 'zod';
import type { LayoutOptions } from '../../host/lvm/argv.ts';
import { parseQuantity } from '../../lib/quantity.ts';
import { spread } from '../../model/disk-layout.ts';
import { AzekuraError } from '../../model/errors.ts';
import { diskLayouts } from '../../model/pool.ts';

const count = z
  .string()
  .regex(/^[1-9]\d?$/, 'must be a number from 1 to 99')
  .transform(Number);

/** The engine's own class parameters; all are text, as StorageClass parameters are. */
export const LvmParameters = z
  .object({
    layout: z
      .enum(diskLayouts)
      .optional()
      .describe('How a thick volume lies on the disks of its pool; linear unless told'),
    stripes: count.optional().describe('Disks that data is spread over, without those for redundancy; all unless told'),
    stripeSize: z
      .string()
      .transform((text, context) => {
        const bytes = quantityOf(text);
        const fits = bytes !== undefined && bytes >= 4096 && bytes <= 2 ** 20 && Number.isInteger(Math.log2(bytes));
        if (!fits) context.addIssue('must be a power of two from 4Ki to 1Mi');
        return bytes ?? 0;
      })
      .optional()
      .describe('Bytes on one disk before the next one is used; 64Ki unless told'),
    mirrors: count.optional().describe('Further copies for mirror, raid1 and raid10; 1 unless told'),
  })
  .strict();

function quantityOf(text: string): number | undefined {
  const parsed = parseQuantity(text);
  return parsed.ok ? parsed.bytes : undefined;
}

/**
 * The layout of a thick volume.
 *
 * @throws AzekuraError InvalidArgument; FailedPrecondition when there are too few disks
 */
export function layoutOf(parameters: Readonly<Record<string, string>>, disks: number): LayoutOptions {
  const { layout = 'linear', stripes, mirrors, stripeSize } = parse(parameters);
  const options = spread({ type: layout, stripes, mirrors }, disks);
  return {
    ...options,
    ...(stripeSize === undefined || options.stripes === undefined ? {} : { stripeBytes: stripeSize }),
  };
}

/** Thin volumes lie as their pool does. @throws AzekuraError InvalidArgument */
export function refuseLayout(parameters: Readonly<Record<string, string>>): void {
  if (Object.keys(parse(parameters)).length === 0) return;
  throw new AzekuraError(
    'InvalidArgument',
    'a layout is for thick volumes; thin ones lie as the thin pool of their pool does',
    {
      next: 'leave the layout out, use provisioning thick, or add a pool with --layout',
    },
  );
}

function parse(parameters: Readonly<Record<string, string>>): z.infer<typeof LvmParameters> {
  const parsed = LvmParameters.safeParse(parameters);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new AzekuraError('InvalidArgument', `parameter ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`);
}
