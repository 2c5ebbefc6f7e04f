import type { ObjectReference } from '../../kube/types.ts';
import type { Logger } from '../../lib/log.ts';
import type { Cause } from '../../model/cause.ts';
import type { Volume } from '../../model/kinds.ts';
import type { WhyAnswer } from '../operations.ts';
import type { View } from '../view.ts';

export interface ClaimEventsDeps {
  readonly view: View;
  readonly why: (kind: string, name: string) => Promise<WhyAnswer>;
  readonly tellCause: (regarding: ObjectReference, action: string, cause: Cause) => void;
  readonly log: Logger;
}

/**
 * Tells the one cause of a volume that is not well as an Event on its claim, where people look first; each time it is
 * another one. @returns ends it
 */
export function startClaimEvents({ view, why, tellCause, log }: ClaimEventsDeps): () => void {
  /** What was told of a volume last. */
  const told = new Map<string, string>();
  return view.volumes.onChange(({ object, type }) => {
    const { name, uid } = object.metadata;
    const claim = claimOf(object);
    if (type === 'deleted' || !claim || object.status.causes.length === 0) {
      told.delete(uid);
      return;
    }
    why('Volume', name)
      .then(({ healthy, cause }) => {
        const sentence = cause ? `${cause.code} ${cause.message}` : '';
        if (healthy || !cause || told.get(uid) === sentence) return;
        told.set(uid, sentence);
        tellCause(claim, 'Volume', cause);
      })
      .catch((err: unknown) => log.debug({ err, volume: name }, 'the cause of a volume could not be told'));
  });
}

/** The claim as Events name it: `kubectl describe` finds those only that have its uid. */
function claimOf({ metadata, spec }: Volume): ObjectReference | undefined {
  if (!spec.claim) return undefined;
  const { namespace, name } = spec.claim;
  const uid = spec.claim.uid ?? /^pvc-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(metadata.name)?.[1];
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, namespace, ...(uid ? { uid } : {}) };
}
