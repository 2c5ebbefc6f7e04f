import { describe, expect, it } from 'vitest';
import type { VolumeObservation } from '../../engines/contract.ts';
import { makeCause } from '../../model/cause.ts';
import { Policy } from '../../model/policy.ts';
import { ReplicaSpec, ReplicaStatus } from '../../model/replica.ts';
import { holdsAttachment, planReplica } from './replica-plan.ts';

const time = '2026-01-01T00:00:00.000Z';
const absent: VolumeObservation = { present: false, recycled: false, sizeBytes: 0, snapshotIds: [], causes: [] };
const leftover: VolumeObservation = {
  ...absent,
  present: true,
  sizeBytes: 4096,
  attached: { device: '/dev/loop1', readOnly: false, layers: [], causes: [] },
};
const present: VolumeObservation = { ...absent, present: true, sizeBytes: 4096 };
const hollow: VolumeObservation = {
  ...absent,
  present: true,
  causes: [makeCause('BackingMissing', { volume: 'v', path: '/p' })],
};
const resting: VolumeObservation = { ...absent, recycled: true, sizeBytes: 4096 };
const detached = { attached: false, identityRight: true };

function replica(spec: Partial<ReplicaSpec> = {}, status: Partial<ReplicaStatus> = {}, deletionTimestamp?: string) {
  return {
    metadata: {
      name: 'i-0',
      uid: 'u',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: time,
      finalizers: [],
      ownerReferences: [],
      labels: {},
      annotations: {},
      ...(deletionTimestamp ? { deletionTimestamp } : {}),
    },
    spec: ReplicaSpec.parse({
      volumeName: 'v',
      volumeUid: 'u',
      volumeId: 'i',
      nodeName: 'n',
      poolName: 'p',
      sizeBytes: 4096,
      mode: 'filesystem',
      policy: Policy.parse({}),
      volumeCreatedAt: time,
      volumeGeneration: 1,
      ...spec,
    }),
    status: ReplicaStatus.parse(status),
  };
}

const had = { phase: 'Ready' as const, sizeBytes: 4096 };
const recycled = { deletedAt: time, expiresAt: time };
const restore = { snapshotId: 's', requestId: 'r1' };

const purge = true;

describe('planReplica', () => {
  it.each([
    ['makes what is not there yet', replica(), absent, detached, 'create'],
    ['tries again what failed before it had data', replica({}, { phase: 'Failed' }), absent, detached, 'create'],
    ['never makes anew what had data once', replica({}, had), absent, detached, 'missing'],
    ['grows nothing in the place of data that is gone', replica({}, had), hollow, detached, 'missing'],
    ['does nothing when all is well', replica({}, had), present, detached, 'none'],
    ['expands', replica({ sizeBytes: 8192 }, had), present, detached, 'expand'],
    ['does not shrink', replica({ sizeBytes: 4096 }, had), { ...present, sizeBytes: 8192 }, detached, 'none'],
    ['writes an identity that is wrong', replica({}, had), present, { ...detached, identityRight: false }, 'identity'],
    ['puts into the bin', replica({ recycled }, had), present, detached, 'recycle'],
    ['lets rest what rests', replica({ recycled }, had), resting, detached, 'none'],
    ['misses what should rest', replica({ recycled }, had), absent, detached, 'missing'],
    ['takes out of the bin', replica({}, had), resting, detached, 'unrecycle'],
    ['restores before it expands', replica({ sizeBytes: 8192, restore }, had), present, detached, 'restore'],
    ['restores once', replica({ restore }, { ...had, restoredRequestId: 'r1' }), present, detached, 'none'],
    [
      'waits with a restore while it is attached',
      replica({ restore }, had),
      present,
      { ...detached, attached: true },
      'none',
    ],
    ['repairs', replica({ repair: { requestId: 'r' } }, had), present, detached, 'repair'],
    [
      'repairs once',
      replica({ repair: { requestId: 'r' } }, { ...had, repair: { requestId: 'r', outcome: '' } }),
      present,
      detached,
      'none',
    ],
    [
      'waits with a repair while it is attached',
      replica({ repair: { requestId: 'r' } }, had),
      present,
      { ...detached, attached: true },
      'none',
    ],
    [
      'detaches what an interrupted repair has left attached',
      replica({ repair: { requestId: 'r' } }, had),
      leftover,
      detached,
      'detach',
    ],
    ['leaves alone what an attachment wants', replica({}, had), leftover, { ...detached, attached: true }, 'none'],
    ['detaches before it deletes', replica({}, had, time), leftover, detached, 'detach'],
    ['deletes with consent, whatever is there', replica({ purge }, had, time), present, detached, 'delete'],
    ['deletes what is not there', replica({ recycled, purge }, had, time), absent, detached, 'delete'],
    ['destroys nothing without consent', replica({}, had, time), present, detached, 'release'],
    ['nor what rests in the bin', replica({ recycled, purge: false }, had, time), absent, detached, 'release'],
    ['nor while the object lives', replica({ purge }, had), present, detached, 'none'],
  ] as const)('%s', (_, one, seen, around, action) => {
    expect(planReplica(one, seen, around)).toBe(action);
  });

  it('keeps an attachment waiting until a restore or repair is done', () => {
    expect(holdsAttachment(replica({ restore }))).toBe(true);
    expect(holdsAttachment(replica({ restore }, { restoredRequestId: 'r1' }))).toBe(false);
    expect(holdsAttachment(replica({ repair: { requestId: 'x' } }))).toBe(true);
    expect(holdsAttachment(replica())).toBe(false);
  });
});
