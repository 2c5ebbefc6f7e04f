import { AzekuraError } from '../model/errors.ts';
import type { Kind, NewResource, Resource } from '../model/kinds.ts';
import { apiVersion } from '../model/meta.ts';
import type { ListOptions, ResourceList, Store } from './store.ts';

/** A store under test. */
export interface StoreHarness {
  readonly store: Store;
  /** Closes the store and opens it again on the same state. */
  reopen(): Promise<Store>;
  /** Closes the store and removes what it held. */
  dispose(): Promise<void>;
  /** Makes every version and continue token of volumes that was given out so far too old, where the test can force that. */
  expireHistory?(): Promise<void>;
}

/** How the parts of the suite reach the store of the running test. */
export type Current = () => StoreHarness;

export const newVolume = (
  name: string,
  more: Partial<NewResource<'Volume'>['metadata']> = {},
  sizeBytes = 4096,
): NewResource<'Volume'> => ({
  kind: 'Volume',
  metadata: { name, ...more },
  spec: { sizeBytes },
});

export const newSnapshot = (
  name: string,
  owners: readonly Resource[],
  finalizers: string[] = [],
): NewResource<'Snapshot'> => ({
  kind: 'Snapshot',
  metadata: { name, finalizers, ownerReferences: owners.map(ownedBy) },
  spec: { volumeName: 'db' },
});

export const ownedBy = ({ kind, metadata: { name, uid } }: Resource) => ({ apiVersion, kind, name, uid });

/** The AzekuraError that a promise is rejected with. */
export async function refusal(promise: Promise<unknown>): Promise<AzekuraError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof AzekuraError) return error;
  throw new Error('expected an AzekuraError', { cause: error });
}

/** For what happens in the background: asks again until it holds. */
export async function eventually(assertion: () => Promise<void>, timeoutMs = 15_000): Promise<void> {
  for (const end = Date.now() + timeoutMs; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}

/** The names in all pages of a list. */
export async function namesByPage(store: Store, kind: Kind, options: ListOptions): Promise<string[]> {
  const names: string[] = [];
  let more: { continueToken?: string } | undefined = {};
  while (more) {
    const page: ResourceList<Kind> = await store.list(kind, { ...options, ...more });
    names.push(...page.items.map(({ metadata }) => metadata.name));
    more = page.continueToken === undefined ? undefined : { continueToken: page.continueToken };
  }
  return names;
}
