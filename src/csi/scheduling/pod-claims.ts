import type { View } from '../../control/view.ts';
import type { KubeClaim, KubePod } from '../../kube/types.ts';
import { parseQuantity, roundUp } from '../../lib/quantity.ts';
import type { Volume } from '../../model/kinds.ts';
import { annotations } from '../../model/names.ts';
import type { ClaimRequest } from '../../placement/index.ts';
import { requestOfUnchecked } from '../common/class-request.ts';
import { driverName } from '../deps.ts';
import type { ClusterClaims } from './cluster-claims.ts';
import { claimKeysOf } from './kinds.ts';

/** A claim of ours that has no volume yet. */
export interface OpenClaim {
  /** namespace/name */
  readonly key: string;
  readonly claim: ClaimRequest;
}

const sectorBytes = 4_096;

/** What the claims of a pod have and lack, as the objects say. */
export class PodClaims {
  readonly #claims: ClusterClaims;
  readonly #view: Pick<View, 'classes' | 'volumes' | 'replicasOf' | 'pools'>;

  constructor(claims: ClusterClaims, view: Pick<View, 'classes' | 'volumes' | 'replicasOf' | 'pools'>) {
    this.#claims = claims;
    this.#view = view;
  }

  /** The node to which a pod is bound by a volume that one of its claims has. */
  nodeOf(pod: KubePod): string | undefined {
    const view = this.#view;
    for (const key of claimKeysOf(pod)) {
      const claim = this.#claims.claims.get(key);
      const volume = claim && this.#volumeOf(claim);
      if (!volume) continue;
      const { volumeId } = volume.status;
      const [replica] = volumeId === undefined ? [] : view.replicasOf(volumeId);
      const promised = volume.metadata.annotations[annotations.promisedPool];
      const nodeName =
        replica?.spec.nodeName ?? (promised === undefined ? undefined : view.pools.get(promised)?.spec.nodeName);
      if (nodeName !== undefined) return nodeName;
    }
    return undefined;
  }

  /** Those of a pod's claims that we shall be asked to make volumes for. */
  withoutVolume(pod: KubePod): OpenClaim[] {
    return claimKeysOf(pod).flatMap((key) => {
      const claim = this.#claims.claims.get(key);
      if (!claim || claim.spec.volumeName || claim.metadata.deletionTimestamp || this.#volumeOf(claim)) return [];
      const { storageClassName = '', resources } = claim.spec;
      const storageClass = this.#claims.classes.get(storageClassName);
      if (storageClass?.provisioner !== driverName) return [];
      const size = parseQuantity(resources?.requests?.storage ?? '');
      const request = requestOfUnchecked(this.#view, storageClass.parameters);
      if (!size.ok || !request) return [];
      const sizeBytes = roundUp(size.bytes, sectorBytes);
      return [{ key, claim: { ...request, name: claim.metadata.name, sizeBytes } }];
    });
  }

  /** The provisioner calls a claim's volume pvc-<uid>. */
  #volumeOf({ metadata, spec }: KubeClaim): Volume | undefined {
    const { volumes } = this.#view;
    return volumes.get(`pvc-${metadata.uid}`) ?? (spec.volumeName ? volumes.get(spec.volumeName) : undefined);
  }
}
