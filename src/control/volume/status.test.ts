import { describe, expect, it } from 'vitest';
import { AttachmentSpec, AttachmentStatus, grownToDetail } from '../../model/attachment.ts';
import { makeCause } from '../../model/cause.ts';
import type { Attachment, Replica, Volume } from '../../model/kinds.ts';
import { apiVersion } from '../../model/meta.ts';
import { ReplicaStatus } from '../../model/replica.ts';
import { volumeStatus } from './status.ts';

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
