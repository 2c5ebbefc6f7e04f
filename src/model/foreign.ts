/** Kinds of Kubernetes that people ask about, by the words that kubectl takes. */
const words = {
  PersistentVolumeClaim: ['pvc', 'persistentvolumeclaim', 'persistentvolumeclaims'],
  PersistentVolume: ['pv', 'persistentvolume', 'persistentvolumes'],
  Pod: ['pod', 'pods'],
} as const;

export type ForeignKind = keyof typeof words;

/** The kind that a word means; undefined for none of these. */
export function foreignKindFromWord(word: string): ForeignKind | undefined {
  const lower = word.toLowerCase();
  return (Object.keys(words) as ForeignKind[]).find(
    (kind) => kind.toLowerCase() === lower || (words[kind] as readonly string[]).includes(lower),
  );
}
