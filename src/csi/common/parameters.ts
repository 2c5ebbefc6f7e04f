import { parseDurationMs } from '../../lib/duration.ts';
import type { ClaimRef } from '../../model/claim.ts';
import { AzekuraError } from '../../model/errors.ts';
import { Name } from '../../model/meta.ts';
import { DeviceClass } from '../../model/pool.ts';

/** What a StorageClass, with its VolumeAttributesClass, says of a new volume. */
export interface ClassParameters {
  readonly className?: string;
  readonly engineKind?: string;
  readonly deviceClass?: string;
  readonly provisioning?: 'thin' | 'thick';
  readonly filesystem?: 'xfs' | 'ext4';
  readonly encryption?: 'none' | 'luks2';
  readonly encryptionKeyFile?: string;
  readonly encryptionDiscard?: boolean;
  readonly poolName?: string;
  readonly claim?: ClaimRef;
  /** The engine's own; Operations checks them against its schema. */
  readonly engine: Readonly<Record<string, string>>;
  readonly mutable: MutableParameters;
}

/** What may change in a volume's life. */
export interface MutableParameters {
  /** `recycle`: how long the volume rests in the bin when it is deleted. */
  readonly recycleMs?: number;
}

/** Keys of the sidecars (--extra-create-metadata, secrets): taken, and never handed to the engine. */
const sidecarPrefix = 'csi.storage.k8s.io/';
const longestRecycleMs = 366 * 86_400_000;

/**
 * Reads the parameters of CreateVolume and GetCapacity. Keys that are not ours are the engine's.
 *
 * @throws AzekuraError InvalidArgument for a value that is not possible
 */
export function parseParameters(
  parameters: Readonly<Record<string, string>>,
  mutable: Readonly<Record<string, string>>,
): ClassParameters {
  const engine: [string, string][] = [];
  const known: { -readonly [K in keyof ClassParameters]?: ClassParameters[K] } = {};
  const inline: Record<string, string> = {};
  for (const [key, value] of Object.entries(parameters)) {
    if (key.startsWith(sidecarPrefix)) continue;
    switch (key) {
      case 'class':
        known.className = nameValue(key, value);
        break;
      case 'engine':
        known.engineKind = nameValue(key, value);
        break;
      case 'deviceClass':
        known.deviceClass = deviceClassValue(value);
        break;
      case 'pool':
        known.poolName = nameValue(key, value);
        break;
      case 'provisioning':
        known.provisioning = oneOf(key, value, ['thin', 'thick']);
        break;
      case 'filesystem':
        known.filesystem = oneOf(key, value, ['xfs', 'ext4']);
        break;
      case 'encryption':
        known.encryption = oneOf(key, value, ['none', 'luks2']);
        break;
      case 'encryptionKeyFile':
        known.encryptionKeyFile = value;
        break;
      case 'encryptionDiscard':
        known.encryptionDiscard = oneOf(key, value, ['true', 'false']) === 'true';
        break;
      case 'recycle':
        inline.recycle = value;
        break;
      default:
        engine.push([key, value]);
    }
  }
  const claim = claimOf(parameters);
  // Mutable parameters override those of the class (CSI 1.13, CreateVolumeRequest.mutable_parameters).
  return {
    ...known,
    ...(claim ? { claim } : {}),
    engine: Object.fromEntries(engine),
    mutable: parseMutable({ ...inline, ...mutable }),
  };
}

/** What the parameters say of encryption, as Operations.createVolume takes it. */
export function encryptionOf({ encryption, encryptionKeyFile, encryptionDiscard }: ClassParameters) {
  return {
    ...(encryption === undefined ? {} : { encryption }),
    ...(encryptionKeyFile === undefined ? {} : { encryptionKeyFile }),
    ...(encryptionDiscard === undefined ? {} : { encryptionDiscard }),
  };
}

/** @throws AzekuraError InvalidArgument for any key or value that is not possible; then nothing is to be changed */
export function parseMutable(parameters: Readonly<Record<string, string>>): MutableParameters {
  const parsed: { -readonly [K in keyof MutableParameters]: MutableParameters[K] } = {};
  for (const [key, value] of Object.entries(parameters)) {
    if (key.startsWith(sidecarPrefix)) continue;
    if (key !== 'recycle')
      throw new AzekuraError('InvalidArgument', `parameter "${key}" cannot be changed`, {
        next: 'what can be changed: recycle',
      });
    const recycleMs = parseDurationMs(value);
    if (recycleMs === undefined || recycleMs > longestRecycleMs)
      throw new AzekuraError('InvalidArgument', 'parameter "recycle" is not a time of at most 366d', {
        next: 'write it like 90s, 15m, 24h or 7d; 0 deletes at once',
      });
    parsed.recycleMs = recycleMs;
  }
  return parsed;
}

/**
 * Parameters of a snapshot class or group snapshot class.
 *
 * @throws AzekuraError InvalidArgument for an unknown key
 */
export function parseSnapshotParameters(parameters: Readonly<Record<string, string>>): { readonly freeze?: boolean } {
  let freeze: boolean | undefined;
  for (const [key, value] of Object.entries(parameters)) {
    if (key.startsWith(sidecarPrefix)) continue;
    if (key !== 'freeze')
      throw new AzekuraError('InvalidArgument', `snapshot parameter "${key}" is unknown`, {
        next: 'what there is: freeze',
      });
    freeze = oneOf(key, value, ['true', 'false']) === 'true';
  }
  return freeze === undefined ? {} : { freeze };
}

/** Parameters by which a repeated request is known again: without the mutable ones and without the sidecars' own. */
export function immutableParameters(parameters: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(parameters).filter(([key]) => !key.startsWith(sidecarPrefix) && key !== 'recycle'),
  );
}

function claimOf(parameters: Readonly<Record<string, string>>): ClaimRef | undefined {
  const name = parameters[`${sidecarPrefix}pvc/name`];
  const namespace = parameters[`${sidecarPrefix}pvc/namespace`];
  if (!name || !namespace || name.length > 253 || namespace.length > 63) return undefined;
  return { namespace, name };
}

function nameValue(key: string, value: string): string {
  const parsed = Name.safeParse(value);
  if (!parsed.success)
    throw new AzekuraError(
      'InvalidArgument',
      `parameter "${key}" ${parsed.error.issues[0]?.message ?? 'is not a name'}`,
    );
  return parsed.data;
}

function deviceClassValue(value: string): string {
  const parsed = DeviceClass.safeParse(value);
  if (!parsed.success)
    throw new AzekuraError(
      'InvalidArgument',
      `parameter "deviceClass" ${parsed.error.issues[0]?.message ?? 'is wrong'}`,
    );
  return parsed.data;
}

function oneOf<T extends string>(key: string, value: string, values: readonly T[]): T {
  const found = values.find((candidate) => candidate === value);
  if (!found) throw new AzekuraError('InvalidArgument', `parameter "${key}" is not one of ${values.join(', ')}`);
  return found;
}
