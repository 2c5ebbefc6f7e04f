/** Argument lists of cryptsetup(8), 2.4 and later. Pure: nothing here knows a key, only where cryptsetup reads it. */

import { encryptionHeaderBytes } from '../../model/policy.ts';

export type CryptsetupArgv = readonly [string, ...string[]];

const metadataSize = '16k';
/** Eight slots of 252 KiB; with both copies of the metadata 2 MiB. */
const keyslotsBytes = 8 * 258_048;
const sectorBytes = 512;

/**
 * Fixed, so that opening costs the same on every machine and nothing is measured: argon2id with 32 MiB, four passes and
 * one thread is above what OWASP asks for (19 MiB, two passes), and fits into the memory that a small node's agent has.
 */
export const standardDerivation: KeyDerivation = [
  '--pbkdf',
  'argon2id',
  '--pbkdf-memory',
  '32768',
  '--pbkdf-parallel',
  '1',
  '--pbkdf-force-iterations',
  '4',
];

/** Options that say how a key is derived from what was given. */
export type KeyDerivation = readonly string[];

/** Where a command reads a key: a file of the machine, or its standard input. */
export type KeyPlace = { readonly file: string } | { readonly inputBytes: number };

function keyFile(place: KeyPlace): readonly string[] {
  return 'file' in place ? ['--key-file', place.file] : ['--key-file', '-', '--keyfile-size', String(place.inputBytes)];
}

export function formatArgv(
  device: string,
  uuid: string,
  key: KeyPlace,
  derivation: KeyDerivation = standardDerivation,
): CryptsetupArgv {
  const cipher = ['--type', 'luks2', '--cipher', 'aes-xts-plain64', '--key-size', '512', '--hash', 'sha256'];
  const layout = [
    ...['--sector-size', '4096', '--offset', String(encryptionHeaderBytes / sectorBytes)],
    ...['--luks2-metadata-size', metadataSize, '--luks2-keyslots-size', String(keyslotsBytes)],
  ];
  return ['luksFormat', '--batch-mode', ...cipher, ...layout, ...derivation, '--uuid', uuid, ...keyFile(key), device];
}

/**
 * The volume's own key goes into the mapping's table, not into the kernel's keyring: growing an open mapping then needs
 * no key.
 */
export function openArgv(
  device: string,
  name: string,
  key: KeyPlace,
  options: { readonly readOnly: boolean; readonly discards: boolean },
): CryptsetupArgv {
  return [
    'open',
    '--type',
    'luks2',
    '--disable-keyring',
    ...(options.readOnly ? ['--readonly'] : []),
    ...(options.discards ? ['--allow-discards'] : []),
    ...keyFile(key),
    device,
    name,
  ];
}

/**
 * Says which slot a key opens: slotOf() reads it.
 *
 * @param device or the file of a header's backup
 */
export function testArgv(device: string, key: KeyPlace): CryptsetupArgv {
  return ['open', '--verbose', '--type', 'luks2', '--test-passphrase', ...keyFile(key), device];
}

/** The number of the slot that testArgv's command opened. */
export function slotOf(stdout: string): number | undefined {
  const [, slot] = /^Key slot (\d+) unlocked\.$/m.exec(stdout) ?? [];
  return slot === undefined ? undefined : Number(slot);
}

export function closeArgv(name: string): CryptsetupArgv {
  return ['close', name];
}

export function resizeArgv(name: string): CryptsetupArgv {
  return ['resize', '--batch-mode', '--disable-keyring', name];
}

/** With both keys from standard input the old one comes first. */
export function addKeyArgv(
  device: string,
  old: KeyPlace,
  added: KeyPlace,
  derivation: KeyDerivation = standardDerivation,
): CryptsetupArgv {
  const file = 'file' in added ? added.file : '-';
  return ['luksAddKey', '--batch-mode', ...derivation, ...keyFile(old), device, file];
}

/** Takes away the slot that this key opens. */
export function removeKeyArgv(device: string, key: KeyPlace): CryptsetupArgv {
  const file = 'file' in key ? key.file : '-';
  return ['luksRemoveKey', '--batch-mode', device, file];
}

export function uuidArgv(device: string, uuid: string): CryptsetupArgv {
  return ['luksUUID', '--batch-mode', '--uuid', uuid, device];
}

export function backupArgv(device: string, file: string): CryptsetupArgv {
  return ['luksHeaderBackup', '--batch-mode', '--header-backup-file', file, device];
}

export function restoreArgv(device: string, file: string): CryptsetupArgv {
  return ['luksHeaderRestore', '--batch-mode', '--header-backup-file', file, device];
}

/**
 * What tells one volume key from another in the metadata that dumpArgv's command prints: the digests, without the slots that
 * hold the key at present.
 */
export function volumeKeyOf(stdout: string): string {
  const { digests } = JSON.parse(stdout) as {
    readonly digests?: Readonly<Record<string, { readonly [key: string]: unknown }>>;
  };
  return JSON.stringify(
    Object.values(digests ?? {}).map(({ type, salt, digest, hash, iterations }) => [
      type,
      salt,
      digest,
      hash,
      iterations,
    ]),
  );
}

export function dumpArgv(device: string): CryptsetupArgv {
  return ['luksDump', '--dump-json-metadata', device];
}
