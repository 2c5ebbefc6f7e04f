import type { BlockNode } from '../../host/host.ts';
import {
  addKeyArgv,
  backupArgv,
  closeArgv,
  dumpArgv,
  formatArgv,
  type KeyDerivation,
  openArgv,
  removeKeyArgv,
  resizeArgv,
  restoreArgv,
  slotOf,
  standardDerivation,
  testArgv,
  uuidArgv,
  volumeKeyOf,
} from '../../host/luks/argv.ts';
import { findMapping, mappingName, standsOn } from '../../host/luks/mapping.ts';
import { type LuksCall, type LuksKey, luksFailed, placeOfKey, runCryptsetup } from '../../host/luks/run.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { EngineDeps, VolumeRef } from '../contract.ts';
import { luksUuid } from './identity.ts';

/** The header and the mapping of one volume, on the device that the engine below has attached. Every call looks before it acts. */
export class LuksDevice {
  readonly #deps: EngineDeps;
  readonly #call: LuksCall;
  readonly #volume: VolumeRef;
  readonly #name: string;

  readonly #derivation: KeyDerivation;

  /** @param label what messages call the volume */
  constructor(deps: EngineDeps, volume: VolumeRef, label: string, derivation: KeyDerivation = standardDerivation) {
    this.#derivation = derivation;
    this.#deps = deps;
    this.#volume = volume;
    this.#name = mappingName(volume.volumeId);
    this.#call = { volume: label, domain: `volume/${volume.volumeId}` };
  }

  /** What messages call the volume. */
  get label(): string {
    return this.#call.volume;
  }

  /** The open mapping on the device; undefined when there is none. @throws AzekuraError FailedPrecondition when it stands on another device */
  async mapping(device: string): Promise<BlockNode | undefined> {
    const found = await findMapping(this.#deps.host, this.#name);
    return found && standsOn(found, device) ? found : undefined;
  }

  /** Writes a new header with one key, over whatever is there. */
  async format(device: string, key: LuksKey): Promise<void> {
    const { place, input } = placeOfKey(key);
    await this.#step(
      'luks.format',
      formatArgv(device, luksUuid(this.#volume.volumeId), place, this.#derivation),
      input,
    );
  }

  /** @returns whether the key opened it; false when it is not the key */
  async tryOpen(
    device: string,
    key: LuksKey,
    options: { readonly readOnly: boolean; readonly discards: boolean },
  ): Promise<boolean> {
    const { place, input } = placeOfKey(key);
    return this.#unlessWrong(() => this.#step('luks.open', openArgv(device, this.#name, place, options), input));
  }

  /** The slot of a header, or of a backup of one, that a key opens; undefined when it opens none. */
  async slotOf(device: string, key: LuksKey): Promise<number | undefined> {
    const { place, input } = placeOfKey(key);
    try {
      const { stdout } = await this.#run(testArgv(device, place), input);
      const slot = slotOf(stdout);
      if (slot !== undefined) return slot;
    } catch (error) {
      if (luksFailed(error, 'no-key')) return undefined;
      throw error;
    }
    throw new AzekuraError(
      'HostFailure',
      `cryptsetup does not tell which slot of volume ${this.#call.volume} a key opens`,
    );
  }

  /** @throws AzekuraError FailedPrecondition with blame InUse and the holder's name */
  async close(mapping: BlockNode): Promise<void> {
    const { host } = this.#deps;
    const what = `volume ${this.#call.volume}`;
    const mounted = (await host.mounts()).find((mount) => mount.device === mapping.deviceNumber);
    if (mounted)
      throw blamed('FailedPrecondition', makeCause('InUse', { what, holder: `the mount at ${mounted.target}` }));
    try {
      await this.#step('luks.close', closeArgv(this.#name));
    } catch (error) {
      if (!luksFailed(error, 'busy')) throw error;
      const [holder = `an unknown holder of ${mapping.path}`] = await host.holders({ device: mapping.path });
      throw blamed('FailedPrecondition', makeCause('InUse', { what, holder }), { cause: error });
    }
  }

  /** The mapping takes over the size of its device. */
  async grow(): Promise<void> {
    await this.#step('luks.resize', resizeArgv(this.#name));
  }

  /** A clone's header has the UUID of its origin until it is attached for writing. */
  async giveOwnUuid(device: string): Promise<void> {
    const wanted = luksUuid(this.#volume.volumeId);
    const found = await this.#kernel.probeFilesystem(device);
    // What is no header is told by whoever opens it.
    if (found?.filesystem !== 'crypto_LUKS' || found.uuid === wanted) return;
    await this.#step('luks.uuid', uuidArgv(device, wanted));
  }

  /** Adds a key with the help of one that opens the header. */
  async addKey(device: string, old: LuksKey, added: LuksKey): Promise<void> {
    const [first, second] = [placeOfKey(old), placeOfKey(added)];
    const input = Buffer.concat([first.input, second.input]);
    await this.#step('luks.add-key', addKeyArgv(device, first.place, second.place, this.#derivation), input);
  }

  /** Takes away the slots that a key opens; what is no key any more is no error. */
  async removeKey(device: string, key: LuksKey): Promise<void> {
    const { place, input } = placeOfKey(key);
    await this.#unlessWrong(() => this.#step('luks.remove-key', removeKeyArgv(device, place), input));
  }

  /** Keeps a copy of the header, in one instant. */
  async backUp(device: string, file: string): Promise<void> {
    const kernel = this.#kernel;
    await this.#deps.steps.run('luks.back-up', async () => {
      // cryptsetup does not write over a file.
      await kernel.removeTree(`${file}.new`);
      await this.#run(backupArgv(device, `${file}.new`));
      await kernel.sync(`${file}.new`);
      await kernel.rename(`${file}.new`, file, { replace: true });
    });
  }

  /** Puts a copy of the header in the place of the present one. */
  async putBack(device: string, file: string): Promise<void> {
    await this.#step('luks.put-back', restoreArgv(device, file));
  }

  /** Whether two headers, or backups, are of the same volume key, so that the one may stand in for the other. */
  async sameVolumeKey(one: string, other: string): Promise<boolean> {
    const volumeKey = async (device: string) => volumeKeyOf((await this.#run(dumpArgv(device))).stdout);
    return (await volumeKey(one)) === (await volumeKey(other));
  }

  get #kernel() {
    return this.#deps.host.kernel(this.#call.domain);
  }

  async #unlessWrong(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (luksFailed(error, 'no-key')) return false;
      throw error;
    }
  }

  async #step(name: string, argv: Parameters<typeof runCryptsetup>[1], input?: Uint8Array): Promise<void> {
    await this.#deps.steps.run(name, () => this.#run(argv, input));
  }

  #run(argv: Parameters<typeof runCryptsetup>[1], input?: Uint8Array) {
    return runCryptsetup(this.#deps, argv, this.#call, input === undefined ? {} : { input, derives: true });
  }
}

/** The keys that were given do not open the volume. */
export function wrongKey(label: string): AzekuraError {
  return blamed('FailedPrecondition', makeCause('EncryptionKeyWrong', { volume: label }));
}
