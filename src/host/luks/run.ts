import type { KeyedLock } from '../../lib/keyed-lock.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import { ExecError, lastLines } from '../exec.ts';
import type { ExecResult, Host } from '../host.ts';
import type { CryptsetupArgv, KeyPlace } from './argv.ts';

export interface LuksDeps {
  readonly host: Pick<Host, 'exec'>;
  /** Shared by the process: one derivation of a key at a time, for its memory. */
  readonly locks: KeyedLock;
}

/** A key: a file that cryptsetup reads itself, or bytes that go to its standard input and nowhere else. */
export type LuksKey = { readonly file: string } | { readonly bytes: Uint8Array };

export interface LuksCall {
  /** What messages call the volume. */
  readonly volume: string;
  /** Domain of containment: what hangs with this device. */
  readonly domain: string;
}

/** Deriving a key takes a tenth of a second, on the slowest machines some seconds; a device may be slow too. */
const deadlineMs = 120_000;

/** Exit codes of cryptsetup(8). */
const exitNoKey = 2;
const exitMemory = 3;
const exitBusy = 5;

/** What a command failed of. */
export type LuksFailure = 'no-key' | 'no-key-file' | 'busy' | 'memory' | 'no-header' | 'no-kernel' | 'other';

/** Reads exit code and message of a failed command. Pure. */
export function classifyLuksFailure(exitCode: number | undefined, stderr: string): LuksFailure {
  if (exitCode === exitBusy || /still in use|already exists|Device or resource busy/i.test(stderr)) return 'busy';
  if (/key ?file/i.test(stderr)) return 'no-key-file';
  if (exitCode === exitNoKey) return 'no-key';
  if (/not a valid LUKS2? device|LUKS keyslot .* is invalid|Invalid header/i.test(stderr)) return 'no-header';
  if (/device-mapper|dm_mod|dm-crypt|Kernel (doesn't|does not) support/i.test(stderr)) return 'no-kernel';
  return exitCode === exitMemory ? 'memory' : 'other';
}

/** Where a command finds a key, and what goes to its standard input. */
export function placeOfKey(key: LuksKey): { readonly place: KeyPlace; readonly input: Uint8Array } {
  if ('file' in key) return { place: { file: key.file }, input: new Uint8Array() };
  return { place: { inputBytes: key.bytes.length }, input: key.bytes };
}

/**
 * Runs a command of cryptsetup.
 *
 * @param options.input keys, for its standard input
 * @param options.derives whether it derives a key, which takes memory
 * @throws AzekuraError with details.failure (LuksFailure): FailedPrecondition with blame ToolMissing,
 *   EncryptionHeaderDamaged or EncryptionUnsupported; DeadlineExceeded; HostFailure
 */
export async function runCryptsetup(
  deps: LuksDeps,
  argv: CryptsetupArgv,
  call: LuksCall,
  options: { readonly input?: Uint8Array; readonly derives?: boolean } = {},
): Promise<ExecResult> {
  const run = () =>
    deps.host.exec(['cryptsetup', ...argv], {
      deadlineMs,
      domain: call.domain,
      // Nobody is waited for: the device nodes are libdevmapper's, as with LVM.
      env: { DM_DISABLE_UDEV: '1' },
      input: options.input ?? new Uint8Array(),
    });
  try {
    return await (options.derives ? deps.locks.run('luks/derive', run) : run());
  } catch (error) {
    if (error instanceof ExecError && error.exitCode !== undefined) throw explain(error, argv[0], call.volume);
    throw error;
  }
}

function explain(error: ExecError, verb: string, volume: string): AzekuraError {
  const failure = classifyLuksFailure(error.exitCode, error.stderr);
  const said = lastLines(error.stderr.replace(/^WARNING:.*$/gm, ''), 2) || `exit code ${error.exitCode}`;
  const options = { details: { failure, exitCode: error.exitCode, stderr: error.stderr.slice(-2_000) }, cause: error };
  if (failure === 'no-key-file')
    return blamed('FailedPrecondition', makeCause('EncryptionKeyMissing', { volume, problem: said }), options);
  if (failure === 'no-kernel')
    return blamed('FailedPrecondition', makeCause('EncryptionUnsupported', { volume, problem: said }), options);
  if (failure === 'no-header')
    return blamed('FailedPrecondition', makeCause('EncryptionHeaderDamaged', { volume, problem: said }), options);
  return new AzekuraError('HostFailure', `cryptsetup ${verb} for volume ${volume} failed: ${said}`, options);
}

/** Whether a command failed in this way. */
export function luksFailed(error: unknown, failure: LuksFailure): boolean {
  return error instanceof AzekuraError && error.details.failure === failure;
}
