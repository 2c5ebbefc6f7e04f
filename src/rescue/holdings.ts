import { z } from 'zod';

export const defaultScratchDir = '/run/azekura-rescue';

/** What is held of a volume group. */
const GroupHoldings = z.object({
  name: z.string(),
  /** Its disks, or the copies of them. */
  devices: z.array(z.string()),
  overlays: z.array(z.object({ name: z.string(), file: z.string() })),
  /** The volume that was activated in a group that is used as it is. */
  volume: z.string().optional(),
});
export type GroupHoldings = z.infer<typeof GroupHoldings>;

/**
 * What one rescue command holds of the machine, written down before or as it is taken: so that `rescue umount` finds it
 * without any state of Azekura, and a later command gives back what a killed one left behind. Lies in a folder that a
 * reboot empties, as a reboot releases everything that is named here.
 */
export const HoldingsFile = z.object({
  formatVersion: z.literal(1),
  pid: z.int(),
  /** Mount point that the user asked for. */
  target: z.string().optional(),
  /** What is seen there. */
  volumeId: z.string().optional(),
  snapshotId: z.string().optional(),
  filesystem: z.string().optional(),
  volumeLoop: z.object({ device: z.string(), file: z.string() }).optional(),
  /** Name of the mapping that decrypts what the loop device shows. */
  mapping: z.string().optional(),
  /** Folder of the copy whose journal is replayed. */
  copyDir: z.string().optional(),
  /** A volume group, or what was made to read it. */
  group: GroupHoldings.optional(),
  poolMount: z.string().optional(),
  poolLoop: z.object({ device: z.string(), file: z.string() }).optional(),
});
export type HoldingsFile = z.infer<typeof HoldingsFile>;
export type Holdings = Omit<HoldingsFile, 'formatVersion' | 'pid'>;

/** The device that is mounted. */
export function shownDevice({ mapping, volumeLoop }: Holdings): string | undefined {
  return mapping === undefined ? volumeLoop?.device : `/dev/mapper/${mapping}`;
}

export interface Session {
  readonly id: string;
  readonly holdings: () => Holdings;
  /** Notes what is held from now on. */
  note(more: Holdings): Promise<void>;
  /** Gives everything back, top to bottom. What is still in use stays noted. @throws AzekuraError FailedPrecondition */
  release(): Promise<void>;
}
