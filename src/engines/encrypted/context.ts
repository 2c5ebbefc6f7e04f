import type { KeyDerivation } from '../../host/luks/argv.ts';
import type { LuksKey } from '../../host/luks/run.ts';
import type { Engine, EngineDeps, VolumeIdentity, VolumeRef } from '../contract.ts';
import { LuksDevice } from './device.ts';

/** What the layer needs to know of one volume. */
export interface EncryptionOptions {
  /**
   * The keys of a volume: the one that should open it first, then those that did before.
   *
   * @throws AzekuraError FailedPrecondition with blame EncryptionKeyMissing
   */
  keysOf(volume: VolumeRef): Promise<readonly [LuksKey, ...LuksKey[]]>;
  /** Whether discards reach the pool, which then sees what of the volume is unused. */
  readonly discards: boolean;
  /** How new keys are derived; the standard one unless told. For tests with many volumes, where deriving is all the time. */
  readonly derivation?: KeyDerivation;
}

export interface EncryptedContext extends EncryptionOptions {
  readonly deps: EngineDeps;
  readonly inner: Engine;
}

/** The header and the mapping of a volume, called by its name where that is known. */
export function deviceOf(
  context: EncryptedContext,
  volume: VolumeRef,
  identity: VolumeIdentity | undefined,
): LuksDevice {
  return new LuksDevice(context.deps, volume, identity?.name ?? volume.volumeId, context.derivation);
}
