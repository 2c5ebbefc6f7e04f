import { AzekuraError } from '../model/errors.ts';

/** A parsed selector: each named field or label must have this value. */
export type Selector = Readonly<Record<string, string>>;

/**
 * Reads "a=b,c=d", the form of Kubernetes' equality selectors. An empty text selects everything.
 *
 * @throws AzekuraError InvalidArgument
 */
export function parseSelector(text: string | undefined, what: string): Selector {
  const selector: Record<string, string> = {};
  for (const term of (text ?? '').split(',').filter((each) => each !== '')) {
    const match = /^([^=!]+)={1,2}([^=]*)$/.exec(term);
    if (!match?.[1]) throw new AzekuraError('InvalidArgument', `${what} "${term}" is not of the form key=value`);
    selector[match[1].trim()] = (match[2] ?? '').trim();
  }
  return selector;
}

/** Whether the fields at these dotted paths ("spec.subject.name") hold these values. */
export function matchesFields(object: unknown, selector: Selector): boolean {
  return Object.entries(selector).every(([path, wanted]) => {
    let value: unknown = object;
    for (const key of path.split('.')) {
      value =
        typeof value === 'object' && value !== null && Object.hasOwn(value, key)
          ? (value as Record<string, unknown>)[key]
          : undefined;
    }
    return value !== undefined && String(value) === wanted;
  });
}

/** Whether the object carries these labels. */
export function matchesLabels(
  object: { readonly metadata: { readonly labels: Readonly<Record<string, string>> } },
  selector: Selector,
): boolean {
  return Object.entries(selector).every(([key, value]) => object.metadata.labels[key] === value);
}
