import type { Host } from '../../host/host.ts';
import type { LuksKey } from '../../host/luks/run.ts';
import { makeCause } from '../../model/cause.ts';
import { type AzekuraError, blamed, toAzekuraError } from '../../model/errors.ts';
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
    keys.push({ file: await checkedFile(places, changing.keyFile, missing) });
    // It may be gone when it is needed no more, and be left because others could read it.
    const previous = await kernelOf(places).resolve(changing.previousKeyFile);
    if (previous !== undefined) keys.push({ file: previous });
  }
  const offered = places.keyRing.keysOf(spec.volumeId);
  const { encryptionKeyFile } = spec.policy;
  if (offered.length > 0) keys.push(...offered);
  else if (encryptionKeyFile !== undefined && encryptionKeyFile !== changing?.keyFile) {
    keys.push({ file: await checkedFile(places, encryptionKeyFile, missing) });
  }
  const [first, ...others] = keys;
  if (first) return [first, ...others];
  throw missing('it names no key file, and no key came with a request to stage it');
}

/** Whatever the file's group and everybody else may do with it. */
const forOthers = 0o077;

/**
 * Looks at a key file before cryptsetup reads it. Links are followed, as Secrets that the kubelet mounts are links; what they
 * lead to is checked, and is what cryptsetup gets, so that a link that is turned elsewhere meanwhile changes nothing.
 *
 * @returns its path without links
 */
async function checkedFile(
  places: KeyPlaces,
  path: string,
  missing: (problem: string) => AzekuraError,
): Promise<string> {
  const kernel = kernelOf(places);
  const real = await kernel.resolve(path).catch((error: unknown) => {
    throw missing(`${path} cannot be followed: ${toAzekuraError(error).message}`);
  });
  const stat = real === undefined ? undefined : await kernel.stat(real);
  if (real === undefined || !stat) throw missing(`there is no file ${path} on node ${places.nodeName}`);
  const what = real === path ? path : `${path}, a link to ${real},`;
  if (stat.kind !== 'file') throw missing(`${what} is not a file`);
  if (stat.sizeBytes < shortestKeyBytes)
    throw missing(`${what} has ${stat.sizeBytes} bytes, and a key has at least ${shortestKeyBytes}`);
  if (stat.permissions & forOthers)
    throw missing(`${what} is not its owner's alone: its mode is ${stat.permissions.toString(8)}, and 400 is right`);
  return real;
}

/** Contained apart from everything else: the file may lie on a server that does not answer. */
function kernelOf({ host }: KeyPlaces) {
  return host.kernel('keys');
}
