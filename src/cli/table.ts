export interface TableOptions {
  readonly indent?: number;
  /** Longer cells are cut with an ellipsis; the last column never is. */
  readonly maximumCellWidth?: number;
}

/**
 * Lines up rows below upper-case titles, two spaces between columns. Nothing is drawn around them, so that `awk` and
 * `cut` work on the result; an empty cell is shown as "-" for the same reason.
 */
export function formatTable(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string {
  const { indent = 0, maximumCellWidth = 60 } = options;
  const last = titles.length - 1;
  const cells = [titles.map((title) => title.toUpperCase()), ...rows].map((row) =>
    titles.map((_, column) => clean(row[column] ?? '', column === last ? Number.POSITIVE_INFINITY : maximumCellWidth)),
  );
  const widths = titles.map((_, column) => Math.max(...cells.map((row) => width(row[column] ?? ''))));
  return cells
    .map((row) => {
      const line = row
        .map((cell, column) => (column === last ? cell : cell + ' '.repeat((widths[column] ?? 0) - width(cell))))
        .join('  ');
      return `${' '.repeat(indent)}${line}\n`;
    })
    .join('');
}

function clean(text: string, maximum: number): string {
  const printable = printableText(text) || '-';
  return width(printable) <= maximum ? printable : `${[...printable].slice(0, maximum - 1).join('')}…`;
}

/** Without control characters: a name from a foreign disk must not steer the terminal. */
export function printableText(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '?');
}

function width(text: string): number {
  return [...text].length;
}
