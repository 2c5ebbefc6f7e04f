import { isDeepStrictEqual } from 'node:util';
import type { VolumeEncryption, VolumeIdentity } from '../../engines/contract.ts';
import type { Replica } from '../../model/kinds.ts';

/** What is to be written beside the replica's data. */
export function identityOf(replica: Pick<Replica, 'spec'>): VolumeIdentity {
  const { spec } = replica;
  const { source, claim, recycled } = spec;
  return {
    name: spec.volumeName,
    uid: spec.volumeUid,
    volumeId: spec.volumeId,
    sizeBytes: spec.sizeBytes,
    className: spec.className,
    mode: spec.mode,
    provisioning: spec.policy.provisioning,
    createdAt: spec.volumeCreatedAt,
    generation: spec.volumeGeneration,
    ...(spec.mode === 'filesystem' ? { filesystem: spec.policy.filesystem } : {}),
    ...(claim ? { claim } : {}),
    ...(source?.kind === 'snapshot' ? { parent: `snapshot ${source.volumeId}/${source.snapshotId}` } : {}),
    ...(source?.kind === 'replica' ? { parent: `volume ${source.volumeId}` } : {}),
    ...(spec.policy.encryption === 'none' ? {} : { encryption: encryptionOf(spec.policy) }),
    ...(recycled ? { recycled } : {}),
  };
}

function encryptionOf({ encryptionKeyFile: keyFile }: Replica['spec']['policy']): VolumeEncryption {
  return { kind: 'luks2', ...(keyFile === undefined ? {} : { keyFile }) };
}

/** Whether two identities say the same; absent and undefined fields are equal. */
export function sameIdentity(one: VolumeIdentity | undefined, other: VolumeIdentity): boolean {
  return one !== undefined && isDeepStrictEqual(JSON.parse(JSON.stringify(one)), JSON.parse(JSON.stringify(other)));
}
