import { z } from 'zod';
import type { AgentContext } from '../context.ts';

/**
 * What the agent has put into the machine's file tree for a volume, written before it does so, so that it can be taken
 * away again after any crash, and nothing that was there before is.
 */
const MountRecord = z.object({
  version: z.literal(1),
  stagingPath: z.string().optional(),
  publications: z.array(
    z.object({
      path: z.string(),
      /** Folders and the file that were made for it, outermost first. */
      created: z.array(z.string()),
    }),
  ),
});
export type MountRecord = z.infer<typeof MountRecord>;

const empty: MountRecord = { version: 1, publications: [] };

function recordPath(context: AgentContext, volumeId: string): string {
  return `${context.runDir}/mount-points/${volumeId}.json`;
}

/** The record of a volume; an empty one when there is none, or when it is damaged: then only what the objects say is known. */
export function readRecord(context: AgentContext, volumeId: string): MountRecord {
  const text = context.deps.host.ownFiles.read(recordPath(context, volumeId));
  if (text === undefined) return empty;
  try {
    return MountRecord.parse(JSON.parse(text));
  } catch (err) {
    context.deps.log.warn({ err, volumeId }, 'the record of mount points cannot be read');
    return empty;
  }
}

/**
 * Replaces the record; one that says nothing is removed. It must outlive the process, not a power cut, which takes the
 * mounts along: what may then be left are empty folders.
 */
export function writeRecord(context: AgentContext, volumeId: string, record: MountRecord): void {
  const path = recordPath(context, volumeId);
  const { ownFiles } = context.deps.host;
  if (record.stagingPath === undefined && record.publications.length === 0) ownFiles.remove(path);
  else ownFiles.write(path, `${JSON.stringify(record)}\n`);
}

/** Ids of volumes with a record. */
export async function recordedVolumes(context: AgentContext): Promise<readonly string[]> {
  const names = (await context.ownKernel.listDirectory(`${context.runDir}/mount-points`)) ?? [];
  return names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -'.json'.length));
}
