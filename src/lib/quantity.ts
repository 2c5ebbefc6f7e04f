/**
 * Sizes as people and Kubernetes write them ("10Gi", "500M", "1073741824"), always held as whole bytes in a safe
 * integer. The suffixes are those of Kubernetes' resource.Quantity that make sense for bytes.
 */

const units: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** The outcome of reading a quantity: bytes, or one clause that says what is wrong with the text. */
export type ParsedQuantity =
  | { readonly ok: true; readonly bytes: number }
  | { readonly ok: false; readonly problem: string };

/**
 * Reads a size. Fractions are rounded up to a whole byte, as Kubernetes does.
 *
 * @param text for example "10Gi", "1.5G", "4096"
 */
export function parseQuantity(text: string): ParsedQuantity {
  const match = /^(-?\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(text.trim());
  if (!match) return { ok: false, problem: 'is not a size' };
  const unit = units[match[2] ?? ''];
  if (unit === undefined)
    return { ok: false, problem: `has the unknown unit "${match[2]}"; use Ki, Mi, Gi, Ti, Pi or k, M, G, T, P` };
  const bytes = Math.ceil(Number(match[1]) * unit);
  if (bytes <= 0) return { ok: false, problem: 'must be greater than zero' };
  if (!Number.isSafeInteger(bytes)) return { ok: false, problem: 'is too large; the largest size is 8Pi' };
  return { ok: true, bytes };
}

/**
 * Writes bytes in the largest binary unit that loses no more than the second decimal: 1610612736 → "1.50Gi".
 *
 * @param bytes a whole number of bytes
 */
export function formatBytes(bytes: number): string {
  for (const unit of ['Pi', 'Ti', 'Gi', 'Mi', 'Ki'] as const) {
    const size = units[unit] ?? 1;
    if (Math.abs(bytes) >= size) {
      const value = bytes / size;
      return `${Number.isInteger(value) ? value : value.toFixed(2)}${unit}`;
    }
  }
  return `${bytes}`;
}

/** Rounds up to a multiple: sizes of volumes are multiples of 4096, the sector size that every layer uses. */
export function roundUp(bytes: number, multiple: number): number {
  return Math.ceil(bytes / multiple) * multiple;
}
