import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EncryptionLayer, SnapshotIdentity, VolumeIdentity } from '../contract.ts';
import { VolumeSchema } from '../identity.ts';
import {
  blankLayer,
  inward,
  inwardSnapshot,
  layerOf,
  luksUuid,
  outward,
  outwardOnDisk,
  outwardSnapshot,
} from './identity.ts';

const volume: VolumeIdentity = {
  name: 'db',
  uid: 'u',
  volumeId: 'v1',
  sizeBytes: 64 * 2 ** 20,
  className: 'sealed',
  mode: 'filesystem',
  filesystem: 'ext4',
  provisioning: 'thin',
  createdAt: '2026-01-01T00:00:00.000Z',
  generation: 1,
  encryption: { kind: 'luks2', keyFile: '/keys/db' },
};
const snapshot: SnapshotIdentity = {
  name: 's',
  uid: 'u2',
  snapshotId: 's1',
  volumeId: 'v1',
  sizeBytes: 64 * 2 ** 20,
  cutAt: '2026-01-01T00:00:00.000Z',
  consistency: 'filesystem',
};
const layers = fc.record({
  headerBytes: fc.constantFrom(4 * 2 ** 20, 16 * 2 ** 20),
  state: fc.constantFrom('blank' as const, 'header' as const, 'ready' as const),
});

describe('identities of encrypted volumes', () => {
  it('come back from the disk as they were put there', () => {
    fc.assert(
      fc.property(layers, fc.integer({ min: 1, max: 2 ** 40 }), (layer: EncryptionLayer, sizeBytes) => {
        const stored = inward({ ...volume, sizeBytes }, layer);
        expect(stored.sizeBytes).toBe(sizeBytes + layer.headerBytes);
        expect(layerOf(VolumeSchema.parse(JSON.parse(JSON.stringify(stored))) as VolumeIdentity)).toEqual(layer);
        expect(outward(stored)).toEqual({ ...volume, sizeBytes });
        const kept = inwardSnapshot({ ...snapshot, sizeBytes }, layer);
        expect(outwardSnapshot(kept)).toEqual({ ...snapshot, sizeBytes });
      }),
    );
  });

  it('count as formatted when the notes are lost, so that nothing is ever formatted by mistake', () => {
    expect(layerOf(undefined).state).toBe('ready');
    expect(layerOf(volume).state).toBe('ready');
    expect(blankLayer.state).toBe('blank');
  });

  it('are listed with the sizes that they offer; plain ones are left alone', () => {
    const stored = inward(volume, blankLayer);
    const onDisk = {
      volumeId: 'v1',
      identity: stored,
      dataPath: '/p/data',
      sizeBytes: stored.sizeBytes,
      recycled: false,
      snapshots: [
        { snapshotId: 's1', identity: inwardSnapshot(snapshot, blankLayer), dataPath: '', sizeBytes: stored.sizeBytes },
      ],
    };
    const seen = outwardOnDisk(onDisk);
    expect([seen.sizeBytes, seen.snapshots[0]?.sizeBytes]).toEqual([volume.sizeBytes, volume.sizeBytes]);
    expect(seen.identity).toEqual(volume);
    const { encryption: _, ...plain } = volume;
    const plainOnDisk = { ...onDisk, identity: plain, sizeBytes: plain.sizeBytes, snapshots: [] };
    expect(outwardOnDisk(plainOnDisk)).toEqual(plainOnDisk);
  });

  it('give each volume a UUID of its own for its header', () => {
    expect(luksUuid('v1')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(luksUuid('v1')).not.toBe(luksUuid('v2'));
  });
});
