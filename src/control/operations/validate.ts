import { z } from 'zod';
import { formatBytes, roundUp } from '../../lib/quantity.ts';
import { AzekuraError } from '../../model/errors.ts';
import { Name } from '../../model/meta.ts';
import { refusedMountOptions } from '../../model/mount-options.ts';
import { sectorBytes } from '../../model/volume.ts';

const mebibyte = 2 ** 20;
/** mkfs.xfs refuses less since xfsprogs 5.19; an ext4 below this has no room for a journal. */
const smallestBytes = { xfs: 300 * mebibyte, ext4: 16 * mebibyte, block: sectorBytes } as const;

/** @throws AzekuraError InvalidArgument */
export function checkName(kind: string, name: unknown): asserts name is string {
  const result = Name.safeParse(name);
  if (result.success) return;
  const shown =
    typeof name === 'string' ? JSON.stringify(name.length > 64 ? `${name.slice(0, 61)}…` : name) : 'what was given';
  throw new AzekuraError(
    'InvalidArgument',
    `${shown} cannot be the name of a ${kind}: it ${result.error.issues[0]?.message ?? 'is not a name'}`,
    {
      next: 'use 1 to 63 lower-case letters, digits and dashes',
    },
  );
}

/**
 * Checks a size and rounds it up to whole sectors.
 *
 * @param sizeBytes as it was asked for
 * @throws AzekuraError InvalidArgument, OutOfRange
 */
export function checkSize(sizeBytes: unknown, mode: 'filesystem' | 'block', filesystem: 'xfs' | 'ext4'): number {
  if (typeof sizeBytes !== 'number' || Number.isNaN(sizeBytes))
    throw new AzekuraError('InvalidArgument', 'the size is not a number of bytes', {
      next: 'write it with a unit, for example 10Gi',
    });
  if (sizeBytes <= 0)
    throw new AzekuraError('InvalidArgument', `the size ${sizeBytes} is not greater than zero`, {
      next: 'ask for at least 1Mi',
    });
  const rounded = roundUp(sizeBytes, sectorBytes);
  if (!Number.isSafeInteger(rounded))
    throw new AzekuraError('OutOfRange', 'the size is beyond 8Pi, the largest that there is', { next: 'ask for less' });
  const kind = mode === 'block' ? 'block' : filesystem;
  if (rounded < smallestBytes[kind])
    throw new AzekuraError(
      'OutOfRange',
      `the size ${formatBytes(rounded)} is below ${formatBytes(smallestBytes[kind])}, the smallest for ${kind === 'block' ? 'a raw block volume' : kind}`,
      {
        next: kind === 'xfs' ? 'ask for more, or use ext4 or a raw block volume' : 'ask for more',
      },
    );
  return rounded;
}

/** @throws AzekuraError InvalidArgument */
export function checkMountOptions(filesystem: 'xfs' | 'ext4', options: readonly string[]): void {
  const [refused] = refusedMountOptions(filesystem, options);
  if (refused === undefined) return;
  throw new AzekuraError(
    'InvalidArgument',
    `"${refused.slice(0, 64)}" is not a mount option that ${filesystem} volumes may have`,
    {
      next: 'the options that are allowed are listed in docs/guide.md',
    },
  );
}

const Labels = z.record(z.string(), z.string());
const labelKey = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** The rules of Kubernetes' labels. @throws AzekuraError InvalidArgument */
export function checkLabels(labels: Readonly<Record<string, string | null>> | undefined): void {
  for (const [key, value] of Object.entries(labels ?? {})) {
    const good =
      labelKey.test(key) && (value === null || (Labels.safeParse({ [key]: value }).success && labelValue.test(value)));
    if (good) continue;
    throw new AzekuraError(
      'InvalidArgument',
      `${JSON.stringify(`${key}=${value ?? ''}`).slice(0, 130)} is not a label`,
      {
        next: 'write key=value with letters, digits, "-", "_" and "."; a value has at most 63 characters',
      },
    );
  }
}

/** Sums up what a zod schema found, in one sentence. */
export function invalid(what: string, error: z.ZodError): AzekuraError {
  const [issue] = error.issues;
  const path = issue?.path.join('.') ?? '';
  return new AzekuraError('InvalidArgument', `${what}${path ? `, ${path}` : ''}: ${issue?.message ?? 'is not valid'}`);
}
