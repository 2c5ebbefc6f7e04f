import { createHash } from 'node:crypto';
import { encryptionHeaderBytes as headerBytes } from '../../model/policy.ts';
import type { ByteRange, EncryptionLayer, SnapshotIdentity, VolumeIdentity, VolumeOnDisk } from '../contract.ts';

/*
 * On the disk sizeBytes is what the engine stores, header included, and the layer's notes stand with the identity. Above
 * the layer sizeBytes is what the volume offers, and the notes are not seen. Pure.
 */

/** Of a volume that was never attached. */
export const blankLayer: EncryptionLayer = { headerBytes, state: 'blank' };

/**
 * What is noted; a volume whose notes are lost counts as ready, so that it is never formatted.
 *
 * @param identity as it stands on the disk
 */
export function layerOf(identity: VolumeIdentity | undefined): EncryptionLayer {
  return identity?.encryption?.layer ?? { headerBytes, state: 'ready' };
}

/** An identity as it is seen above the layer. */
export function outward(identity: VolumeIdentity): VolumeIdentity {
  if (!identity.encryption) return identity;
  const { layer, ...encryption } = identity.encryption;
  return { ...identity, sizeBytes: Math.max(0, identity.sizeBytes - (layer?.headerBytes ?? 0)), encryption };
}

/** An identity as it stands on the disk. */
export function inward(identity: VolumeIdentity, layer: EncryptionLayer): VolumeIdentity {
  const encryption = { ...(identity.encryption ?? { kind: 'luks2' as const }), layer };
  return { ...identity, sizeBytes: identity.sizeBytes + layer.headerBytes, encryption };
}

export function outwardSnapshot(identity: SnapshotIdentity): SnapshotIdentity {
  const { encryption, ...rest } = identity;
  return encryption ? { ...rest, sizeBytes: Math.max(0, rest.sizeBytes - encryption.headerBytes) } : identity;
}

export function inwardSnapshot(identity: SnapshotIdentity, layer: EncryptionLayer): SnapshotIdentity {
  return { ...identity, sizeBytes: identity.sizeBytes + layer.headerBytes, encryption: layer };
}

/**
 * What lies on a pool, as it is seen above the layer: encrypted volumes have the sizes that they offer, others are as they
 * are.
 */
export function outwardOnDisk(volume: VolumeOnDisk): VolumeOnDisk {
  const { identity } = volume;
  const before = identity?.encryption ? layerOf(identity).headerBytes : 0;
  return {
    ...volume,
    sizeBytes: Math.max(0, volume.sizeBytes - before),
    ...(identity ? { identity: outward(identity) } : {}),
    snapshots: volume.snapshots.map((snapshot) => ({
      ...snapshot,
      sizeBytes: Math.max(0, snapshot.sizeBytes - before),
      ...(snapshot.identity ? { identity: outwardSnapshot(snapshot.identity) } : {}),
    })),
  };
}

/**
 * The UUID of a volume's header: made from its id, so that a clone's, which begins as its origin's, can be told from one
 * of its own (RFC 9562, version 8).
 */
export function luksUuid(volumeId: string): string {
  const hex = createHash('sha256').update(`encryption of ${volumeId}`).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}

/** The part of a range of what is stored that lies behind the header, counted from there. */
export function behind({ offsetBytes, lengthBytes }: ByteRange, header: number): readonly ByteRange[] {
  const end = offsetBytes + lengthBytes - header;
  const start = Math.max(0, offsetBytes - header);
  return end > start ? [{ offsetBytes: start, lengthBytes: end - start }] : [];
}
