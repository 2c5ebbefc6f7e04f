import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AttachmentSpec, AttachmentStatus, grownToDetail } from '../../model/attachment.ts';
import { makeCause } from '../../model/cause.ts';
import type { Attachment, Replica, Volume } from '../../model/kinds.ts';
import { apiVersion } from '../../model/meta.ts';
import { ReplicaStatus } from '../../model/replica.ts';
import { withSince } from '../context.ts';
import { useOf, volumeStatus } from './status.ts';

const metadata = {
  name: 'db',
  uid: 'uid',
  resourceVersion: '1',
  generation: 2,
  creationTimestamp: '2026-01-01T00:00:00Z',
  finalizers: [],
  ownerReferences: [],
  labels: {},
  annotations: {},
};
const grownBytes = 2 << 20;
const volume = {
  metadata,
  spec: { sizeBytes: grownBytes },
  status: { phase: 'Expanding', sizeBytes: 1 << 20 },
} as unknown as Volume;
const replica = {
  metadata,
  spec: {},
  status: ReplicaStatus.parse({ observedGeneration: 2, phase: 'Ready', sizeBytes: grownBytes }),
} as unknown as Replica;

/** A mount on the node whose file system has the size that it had before the volume grew. */
function mounted(spec: Partial<AttachmentSpec> = {}, status: Partial<AttachmentStatus> = {}): Attachment {
  return {
    apiVersion,
    kind: 'Attachment',
    metadata,
    spec: AttachmentSpec.parse({
      volumeName: 'db',
      volumeUid: 'uid',
      volumeId: 'id',
      nodeName: 'n',
      access: 'filesystem',
      ...spec,
    }),
    status: AttachmentStatus.parse({
      phase: 'Attached',
      layers: [{ kind: 'filesystem', name: 'xfs', details: { [grownToDetail]: String(1 << 20) } }],
      ...status,
    }),
  };
}

function phase(...attachments: Attachment[]): string | undefined {
  return volumeStatus(volume, [replica], attachments, [], '2026-01-01T00:00:00Z').phase;
}

describe('the phase of a volume whose copy has grown', () => {
  it('is Expanding until the mounted file system has followed', () => {
    expect(phase(mounted())).toBe('Expanding');
    const layers = [{ kind: 'filesystem' as const, name: 'xfs', details: { [grownToDetail]: String(grownBytes) } }];
    expect(phase(mounted({}, { layers }))).toBe('Ready');
  });

  it('waits for no file system that does not grow', () => {
    expect(phase()).toBe('Ready');
    expect(phase(mounted({ readOnly: true }))).toBe('Ready');
    expect(phase(mounted({ access: 'block' }))).toBe('Ready');
    expect(phase(mounted({ staged: false }))).toBe('Ready');
    expect(phase(mounted({}, { phase: 'Failed' }))).toBe('Ready');
    const causes = [makeCause('FilesystemGrowthBlocked', { volume: 'db', problem: 'not permitted' })];
    expect(phase(mounted({}, { causes }))).toBe('Ready');
  });
});

describe('the causes of a volume', () => {
  const causes = [makeCause('InUse', { what: 'volume db', holder: 'somebody' })];
  const causesOf = (copy: Replica, ...attachments: Attachment[]) =>
    volumeStatus(volume, [copy], attachments, [], '2026-01-01T00:00:00Z').causes;

  it('are those of its copy, until that is asked for something else and has not looked since', () => {
    const suffering = { ...replica, status: { ...replica.status, causes } };
    expect(causesOf(suffering)).toEqual(causes);
    expect(causesOf({ ...suffering, metadata: { ...metadata, generation: 3 } })).toEqual([]);
  });

  it('are those of its attachment, until that is asked for again and has not looked since', () => {
    const suffering = mounted({}, { causes, observedGeneration: metadata.generation });
    expect(causesOf(replica, suffering)).toEqual(causes);
    const again = { ...suffering.metadata, generation: metadata.generation + 1 };
    expect(causesOf(replica, { ...suffering, metadata: again })).toEqual([]);
  });
});

describe('the status of a volume', () => {
  const now = '2026-01-01T00:00:00Z';
  const someCauses = fc.subarray([
    makeCause('InUse', { what: 'volume db', holder: 'somebody' }),
    makeCause('FilesystemGrowthBlocked', { volume: 'db', problem: 'not permitted' }),
    makeCause('BackingMissing', { volume: 'db', path: 'somewhere' }),
  ]);
  const generation = fc.constantFrom(1, 2, 3);
  const attachments = fc
    .record({
      spec: fc.record({
        readOnly: fc.boolean(),
        staged: fc.boolean(),
        access: fc.constantFrom('block' as const, 'filesystem' as const),
      }),
      phase: fc.constantFrom(...AttachmentStatus.shape.phase.unwrap().options),
      grownTo: fc.option(fc.constantFrom(0, 1 << 20, grownBytes), { nil: undefined }),
      causes: someCauses,
      observedGeneration: generation,
    })
    .map(({ spec, grownTo, ...status }) => {
      const details: Record<string, string> = grownTo === undefined ? {} : { [grownToDetail]: String(grownTo) };
      return mounted(spec, { ...status, layers: [{ kind: 'filesystem', name: 'xfs', details }] });
    });
  const replicas = fc
    .record({
      phase: fc.constantFrom(...ReplicaStatus.shape.phase.unwrap().options),
      sizeBytes: fc.constantFrom(0, 1 << 20, grownBytes),
      observedGeneration: generation,
      causes: someCauses,
      restoredRequestId: fc.constantFrom(undefined, 'one', 'two'),
    })
    .map((status) => ({ ...replica, status: ReplicaStatus.parse(status) }) as Replica);
  const volumes = fc
    .record({
      phase: fc.constantFrom('Pending', 'Creating', 'Ready', 'Expanding', 'Failed'),
      sizeBytes: fc.constantFrom(0, 1 << 20),
      restore: fc.constantFrom(undefined, { requestId: 'one', snapshotName: 's' }),
      causes: someCauses,
    })
    .map(({ restore, ...status }) => ({ ...volume, spec: { ...volume.spec, restore }, status }) as unknown as Volume);

  it('says the same when it is made again, so nobody needs to wake up at it', () => {
    fc.assert(
      fc.property(volumes, fc.array(replicas, { maxLength: 2 }), fc.array(attachments, { maxLength: 2 }), (...from) => {
        const [first, copies, mounts] = from;
        const report = (stored: Volume, time: string) => {
          const status = volumeStatus(stored, copies, mounts, [], time);
          return { ...stored.status, ...status, causes: withSince(status.causes ?? [], stored.status.causes, time) };
        };
        const once = report(first, now);
        expect(report({ ...first, status: once }, '2027-01-01T00:00:00Z')).toEqual(once);
      }),
    );
  });

  it('is the same for attachments of which it tells the same, so nobody needs to wake up at them', () => {
    fc.assert(
      fc.property(volumes, fc.array(replicas, { maxLength: 2 }), attachments, attachments, (stored, copies, a, b) => {
        fc.pre(JSON.stringify(useOf(a)) === JSON.stringify(useOf(b)));
        expect(volumeStatus(stored, copies, [a], [], now)).toEqual(volumeStatus(stored, copies, [b], [], now));
      }),
    );
  });

  it('is that of a volume without attachments when there is nothing to tell of one', () => {
    const nothing = mounted({}, { phase: 'Pending' });
    expect(useOf(nothing)).toEqual({ causes: [] });
    expect(volumeStatus(volume, [replica], [nothing], [], now)).toEqual(volumeStatus(volume, [replica], [], [], now));
  });
});
