import { z } from 'zod';
import { Cause } from './cause.ts';
import { Layer } from './layer.ts';
import { Bytes, Name, NodeName } from './meta.ts';

/** A group of the operating system; 2³² − 1 means "none" to chown(2). */
export const GroupId = z
  .int()
  .min(0)
  .max(2 ** 32 - 2);

/** A place where an attached volume is to be seen. */
export const Publication = z
  .object({
    path: z.string().startsWith('/').max(4095),
    readOnly: z.boolean().default(false),
    /** The group that the file system belongs to when it is first seen there: CSI's volume_mount_group. */
    mountGroup: GroupId.optional(),
  })
  .strict();

/** How many may use a volume at once; the words of CSI's access modes. */
export const AccessMode = z.enum([
  'SingleNodeWriter',
  'SingleNodeReader',
  'SingleNodeSingleWriter',
  'SingleNodeMultiWriter',
  'MultiNodeReader',
  'MultiNodeSingleWriter',
  'MultiNodeMultiWriter',
]);
export type AccessMode = z.infer<typeof AccessMode>;

/** A volume in use on a node. The name is `<volumeId>.<node>` shortened to a label by attachmentName(). */
export const AttachmentSpec = z
  .object({
    volumeName: Name,
    volumeUid: z.string(),
    volumeId: z.string(),
    nodeName: NodeName,
    access: z.enum(['filesystem', 'block']),
    readOnly: z.boolean().default(false),
    mountOptions: z.array(z.string()).default([]),
    /** Where the file system is mounted once; the agent chooses a place below the data folder when absent. */
    stagingPath: z.string().startsWith('/').optional(),
    published: z.array(Publication).default([]),
    /** Whose request made it, and so whose request ends it: `volume mount`, ControllerPublishVolume, NodeStageVolume. */
    origin: z.enum(['mount', 'publish', 'stage']).default('mount'),
    /** False while only the device is wanted: then no file system is mounted. */
    staged: z.boolean().default(true),
    accessMode: AccessMode.optional(),
    /** New with every request to attach, stage or publish, so that the agent looks again at what really is mounted. */
    observeRequestId: z.string().max(64).optional(),
  })
  .strict();

export const AttachmentStatus = z.object({
  observedGeneration: z.int().default(0),
  phase: z.enum(['Pending', 'Attached', 'Detaching', 'Failed']).default('Pending'),
  devicePath: z.string().optional(),
  stagingPath: z.string().optional(),
  published: z.array(z.string()).default([]),
  layers: z.array(Layer).default([]),
  filesystemBytes: Bytes.optional(),
  filesystemUsedBytes: Bytes.optional(),
  causes: z.array(Cause).default([]),
});
export type AttachmentSpec = z.infer<typeof AttachmentSpec>;
export type AttachmentStatus = z.infer<typeof AttachmentStatus>;
export type Publication = z.infer<typeof Publication>;

/** The detail of the layer of kind `filesystem` that says to which size of its volume it has been grown. */
export const grownToDetail = 'grownToBytes';

/**
 * To which size of its volume, in bytes, the mounted file system has been grown; 0 when none is mounted. Growing again is
 * harmless, so the agent takes what it wrote there for true.
 */
export function filesystemGrownToBytes({ layers }: Pick<AttachmentStatus, 'layers'>): number {
  return Number(layers.find(({ kind }) => kind === 'filesystem')?.details[grownToDetail] ?? 0);
}
