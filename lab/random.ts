/** Random numbers from a seed, so that a failing run can be repeated. */
export interface Random {
  /** In [0, 1). */
  next(): number;
  /** A whole number in [0, limit). */
  below(limit: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  pick<T>(values: readonly [T, ...T[]]): T;
  fill(buffer: Buffer): Buffer;
}

/** Marsaglia's xorshift32, seeded through a multiplicative hash so that near seeds give far streams. */
export function seededRandom(seed: number): Random {
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0 || 1;
  const step = () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
  for (let warm = 0; warm < 8; warm++) step();
  const random: Random = {
    next: () => step() / 2 ** 32,
    below: (limit) => Math.floor((step() / 2 ** 32) * limit),
    chance: (probability) => step() / 2 ** 32 < probability,
    pick: (values) => values[random.below(values.length)] ?? values[0],
    fill(buffer) {
      for (let offset = 0; offset + 4 <= buffer.length; offset += 4) buffer.writeUInt32LE(step(), offset);
      return buffer;
    },
  };
  return random;
}
