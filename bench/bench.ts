/** What a benchmark is: it measures something of ours and a baseline in the same run, because machines differ and days do too. */
import type { Cleanup } from '../lab/workbench.ts';

export interface Measurement {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The same work without Azekura, or by plain means, measured in the same run; absent where there is none. */
  readonly baseline?: number;
  readonly goal?: Goal;
}

/** The goal holds for the value, or for value ÷ baseline. */
export interface Goal {
  readonly of: 'value' | 'ratio';
  readonly is: 'at most' | 'at least';
  readonly than: number;
}

export interface BenchContext {
  /** Shorter runs: for a look, not for figures. */
  readonly quick: boolean;
  readonly cleanup: Cleanup;
  /** A folder in memory. */
  readonly scratch: string;
  note(text: string): void;
}

export interface Bench {
  readonly name: string;
  readonly title: string;
  run(context: BenchContext): Promise<readonly Measurement[]>;
}

/** value ÷ baseline, when there is a baseline. */
export function ratioOf({ value, baseline }: Measurement): number | undefined {
  return baseline ? value / baseline : undefined;
}

/** Whether the goal is met; undefined without a goal. */
export function isMet(measurement: Measurement): boolean | undefined {
  const { goal } = measurement;
  if (!goal) return undefined;
  const judged = goal.of === 'value' ? measurement.value : (ratioOf(measurement) ?? Number.NaN);
  return goal.is === 'at most' ? judged <= goal.than : judged >= goal.than;
}
