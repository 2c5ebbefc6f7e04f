import { type Goal, isMet, type Measurement, ratioOf } from './bench.ts';

/** The rows of `--out FILE`. */
export function toRows(measurements: readonly Measurement[]): readonly object[] {
  return measurements.map((measurement) => ({
    name: measurement.name,
    value: measurement.value,
    unit: measurement.unit,
    baseline: measurement.baseline ?? null,
    ratio: ratioOf(measurement) ?? null,
    goal: measurement.goal ?? null,
    met: isMet(measurement) ?? null,
  }));
}

function round(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

function goalText(goal: Goal): string {
  return `${goal.is === 'at most' ? '≤' : '≥'} ${goal.than}${goal.of === 'ratio' ? '×' : ''}`;
}

/** A table for people. */
export function toTable(measurements: readonly Measurement[]): string {
  const header = ['name', 'value', 'unit', 'baseline', 'ratio', 'goal', 'met'];
  const rows = measurements.map((measurement) => {
    const ratio = ratioOf(measurement);
    const met = isMet(measurement);
    return [
      measurement.name,
      round(measurement.value),
      measurement.unit,
      measurement.baseline === undefined ? '' : round(measurement.baseline),
      ratio === undefined ? '' : `${round(ratio)}×`,
      measurement.goal ? goalText(measurement.goal) : '',
      met === undefined ? '' : met ? 'yes' : 'NO',
    ];
  });
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  return [header, ...rows]
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
