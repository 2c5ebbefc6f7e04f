import type { Host } from '../../host/host.ts';
import type { LuksKey } from '../../host/luks/run.ts';
import { makeCause } from '../../model/cause.ts';
import { type AzekuraError, blamed } from '../../model/errors.ts';
import type { Replica } from '../../model/kinds.ts';
import { type KeyRing, shortestKeyBytes } from './key-ring.ts';

/** Where keys are looked for. */
export interface KeyPlaces {
  readonly keyRing: Pick<KeyRing, 'keysOf'>;
  readonly host: Pick<Host, 'kernel'>;
  readonly nodeName: string;
}

/**
 * The keys of a volume, the one that should open it first: those of a change that is under way, what came with a request,
 * the file that its policy names. Files are read by cryptsetup, never by this process.
 *
 * @throws AzekuraError FailedPrecondition with blame EncryptionKeyMissing
 */
export async function keysOf(
  places: KeyPlaces,
  { spec, status }: Pick<Replica, 'spec' | 'status'>,
): Promise<readonly [LuksKey, ...LuksKey[]]> {
  const missing = (problem: string) =>
    blamed('FailedPrecondition', makeCause('EncryptionKeyMissing', { volume: spec.volumeName, problem }));
  const keys: LuksKey[] = [];
  const { changeKey } = spec;
  const changing = changeKey && status.changeKey?.requestId !== changeKey.requestId ? changeKey : undefined;
  if (changing) {
    await checkFile(places, changing.keyFile, missing);
    keys.push({ file: changing.keyFile });
    // It may be gone when it is needed no more.
    if (await statOf(places, changing.previousKeyFile)) keys.push({ file: changing.previousKeyFile });
  }
  const offered = places.keyRing.keysOf(spec.volumeId);
  const { encryptionKeyFile } = spec.policy;
  if (offered.length > 0) keys.push(...offered);
  else if (encryptionKeyFile !== undefined && encryptionKeyFile !== changing?.keyFile) {
    await checkFile(places, encryptionKeyFile, missing);
    keys.push({ file: encryptionKeyFile });
  }
  const [first, ...others] = keys;
  if (first) return [first, ...others];
  throw missing('it names no key file, and no key came with a request to stage it');
}

/** Whatever the file's group and everybody else may do with it. */
const forOthers = 0o077;

async function checkFile(places: KeyPlaces, path: string, missing: (problem: string) => AzekuraError): Promise<void> {
  const stat = await statOf(places, path);
  if (!stat) throw missing(`there is no file ${path} on node ${places.nodeName}`);
  // What a link leads to is cryptsetup's to read.
  if (stat.kind === 'symlink') return;
  if (stat.kind !== 'file') throw missing(`${path} is not a file`);
  if (stat.sizeBytes < shortestKeyBytes)
    throw missing(`${path} has ${stat.sizeBytes} bytes, and a key has at least ${shortestKeyBytes}`);
  if (stat.permissions & forOthers)
    throw missing(`${path} is not its owner's alone: its mode is ${stat.permissions.toString(8)}, and 400 is right`);
}

/** Contained apart from everything else: the file may lie on a server that does not answer. */
function statOf({ host }: KeyPlaces, path: string) {
  return host.kernel('keys').stat(path);
}
