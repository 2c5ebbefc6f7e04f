import type { PlacementAnswer } from '../control/operations.ts';
import { formatBytes } from '../lib/quantity.ts';
import type { Cause } from '../model/cause.ts';
import type { Context } from './context.ts';
import { causeLines } from './describe.ts';
import { printData } from './output.ts';
import { formatTable } from './table.ts';

/** The daemon's answer to a request with ?dryRun=true. */
export interface DryRun {
  readonly placement?: PlacementAnswer;
  readonly steps?: readonly string[];
  readonly warnings?: readonly Cause[];
  readonly moves?: readonly { readonly volume: string; readonly to: string }[];
  readonly cannot?: readonly { readonly volume: string; readonly why: Cause }[];
  readonly object?: { readonly spec?: { readonly sizeBytes?: number } };
}

/** Tells what would be done, where and why. */
export async function printDryRun(context: Context, answer: unknown, sentence: string): Promise<void> {
  const format = context.format();
  if (format === 'json' || format === 'yaml') return printData(context, answer);
  const { placement, steps, warnings, moves, cannot, object } = answer as DryRun;
  const { out } = context.terminal;
  const where = placement?.chosen.map((each) => `${each.nodeName}/${each.poolName}`).join(', ');
  const bytes = object?.spec?.sizeBytes;
  out(
    `Dry run: would ${sentence}${bytes ? ` (${formatBytes(bytes)})` : ''}${where ? ` in ${where}` : ''}. Nothing was changed.\n`,
  );
  if (placement) {
    const rows = placement.considered.map((each) => [
      each.nodeName,
      each.poolName,
      each.fits ? 'yes' : 'no',
      each.reason,
    ]);
    out(formatTable(['node', 'pool', 'fits', 'reason'], rows));
  }
  for (const step of steps ?? []) out(`  - ${step}\n`);
  for (const move of moves ?? []) out(`  - move volume ${move.volume} to ${move.to}\n`);
  for (const each of cannot ?? [])
    out(`  - volume ${each.volume} cannot move: ${each.why.message}\n    next: ${each.why.nextStep}\n`);
  for (const warning of warnings ?? []) for (const line of causeLines(warning)) out(`Warning: ${line}\n`);
}
