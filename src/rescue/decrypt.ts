import type { Host } from '../host/host.ts';
import type { Kernel } from '../host/kernel.ts';
import { closeArgv, openArgv } from '../host/luks/argv.ts';
import { findMapping } from '../host/luks/mapping.ts';
import { luksFailed, placeOfKey, runCryptsetup } from '../host/luks/run.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import { makeCause } from '../model/cause.ts';
import { blamed } from '../model/errors.ts';
import type { Chosen } from './choose.ts';
import type { Session } from './holdings.ts';
import type { RescueDeps } from './report.ts';

/** What is read of a volume that is stored encrypted. */
export interface Decrypted {
  readonly device: string;
  /** Bytes of the header before what is decrypted. */
  readonly headerBytes: number;
}

/** Whether the chosen bytes are encrypted, and how much of them is header. */
export function headerOf({ volume, snapshot }: Chosen): number | undefined {
  const layer = snapshot ? snapshot.identity?.encryption : volume.identity?.encryption?.layer;
  return layer?.headerBytes;
}

/**
 * Opens what is stored encrypted, read-only unless told, and notes it in the session.
 *
 * @param path the file or device with the stored bytes
 * @throws AzekuraError FailedPrecondition with blame EncryptionKeyMissing, EncryptionKeyWrong or EncryptionHeaderDamaged
 */
export async function decrypt(
  deps: Pick<RescueDeps, 'host'> & { readonly keyFile?: string | undefined },
  kernel: Kernel,
  session: Session,
  stored: { readonly path: string; readonly headerBytes: number; readonly volume: string; readonly readOnly: boolean },
): Promise<Decrypted> {
  const { path, headerBytes, volume, readOnly } = stored;
  if (deps.keyFile === undefined)
    throw blamed(
      'FailedPrecondition',
      makeCause('EncryptionKeyMissing', { volume, problem: 'no --key-file was given' }),
    );
  const { device } = await kernel.attachLoop(path, { readOnly, directIo: false });
  const name = `azk-rescue-${session.id}`;
  await session.note({ volumeLoop: { device, file: path }, mapping: name });
  const { place } = placeOfKey({ file: deps.keyFile });
  const luks = { host: deps.host, locks: new KeyedLock() };
  try {
    const argv = openArgv(device, name, place, { readOnly, discards: false });
    await runCryptsetup(luks, argv, { volume, domain: `rescue${path}` });
  } catch (error) {
    if (!luksFailed(error, 'no-key')) throw error;
    throw blamed('FailedPrecondition', makeCause('EncryptionKeyWrong', { volume }), { cause: error });
  }
  return { device: mappedPath(name), headerBytes };
}

/** Closes what decrypt() has opened; what is not open is no error. */
export async function closeDecrypted(host: Host, name: string): Promise<void> {
  if (!(await findMapping(host, name))) return;
  await runCryptsetup({ host, locks: new KeyedLock() }, closeArgv(name), { volume: name, domain: `rescue/${name}` });
}

export function mappedPath(name: string): string {
  return `/dev/mapper/${name}`;
}
