import type { Attachment, Volume } from '../model/kinds.ts';
import { parseName } from './arguments.ts';
import { type Client, objectPath } from './client.ts';
import type { Context } from './context.ts';
import { printDryRun } from './dry-run.ts';
import { printResult } from './output.ts';
import { named, waitFor } from './wait.ts';

export interface VolumeChange {
  readonly method: 'PATCH' | 'POST';
  readonly action?: string;
  readonly body: unknown;
  /** What a dry run says: "grow volume db". */
  readonly would: string;
  readonly done: (volume: Volume) => boolean;
  readonly what: string;
  readonly sentence: string | ((volume: Volume) => string);
}

/** Asks for a change of one volume, waits for it and says so: the course of most verbs. */
export async function volumeChanged(context: Context, name: string, change: VolumeChange): Promise<void> {
  const client = await context.client();
  const { dryRun, wait } = context.globals();
  const answer = await client.call(change.method, objectPath('Volume', name, change.action), {
    body: change.body,
    query: dryRun ? { dryRun } : {},
  });
  if (dryRun) return printDryRun(context, answer, change.would);
  const [volume = answer as Volume] = await waitFor(context, client, {
    kind: 'Volume',
    query: named(name),
    done: ([object]) => object !== undefined && change.done(object),
    what: change.what,
    subject: name,
  });
  const sentence = typeof change.sentence === 'string' ? change.sentence : change.sentence(volume);
  return printResult(context, wait ? sentence : `volume/${name}: accepted`, volume);
}

/** Where a volume is in use. */
export function attachmentsOf(client: Client, volumeName: string): Promise<Attachment[]> {
  return client.list('Attachment', { fieldSelector: `spec.volumeName=${volumeName}` });
}

/** Puts a snapshot back in place: both `volume restore` and `snapshot restore`. */
export async function restoreVolume(context: Context, name: string, snapshot: string): Promise<void> {
  await volumeChanged(context, parseName(name, 'volume'), {
    method: 'POST',
    action: 'restore',
    body: { snapshotName: parseName(snapshot, 'snapshot') },
    would: `put snapshot ${snapshot} in place of volume ${name}`,
    done: (volume) =>
      volume.spec.restore !== undefined && volume.status.restore?.requestId === volume.spec.restore.requestId,
    what: `volume ${name} to be restored`,
    sentence: `volume/${name} is as it was in snapshot ${snapshot}`,
  });
}
