import type { Operations } from '../control/operations.ts';
import type { Host } from '../host/host.ts';
import { type Clock, timestamp } from '../lib/clock.ts';
import { toAzekuraError } from '../model/errors.ts';
import { kinds } from '../model/kinds.ts';
import type { Store } from '../store/store.ts';
import { servedKinds } from './objects.ts';
import { type TarFile, tarGz } from './tar.ts';

export interface SupportBundleDeps {
  readonly store: Store;
  readonly operations: Operations;
  /** Absent where the process has no business with the machine. */
  readonly host?: Host;
  readonly clock: Clock;
  readonly version: { readonly version: string; readonly build: string };
  /** The newest lines of the log, oldest first. */
  readonly recentLog: () => readonly string[];
}

/**
 * Everything that a bug report needs, as a .tar.gz. Each part is gathered on its own: a part that fails is replaced by
 * its error, since the bundle is wanted most when something does not work. No data of volumes, no secrets.
 */
export async function makeSupportBundle(deps: SupportBundleDeps): Promise<Uint8Array> {
  const parts: Record<string, () => unknown> = {
    'version.json': () => ({ ...deps.version, node: process.version, takenAt: timestamp(deps.clock) }),
    'process.json': () => ({ memory: process.memoryUsage(), cpu: process.cpuUsage(), uptimeSeconds: process.uptime() }),
    'status.json': () => deps.operations.status(),
  };
  const { host } = deps;
  if (host) {
    parts['host/facts.json'] = () => host.facts();
    parts['host/mounts.json'] = () => host.mounts();
    parts['host/loops.json'] = () => host.loops();
    parts['host/devices.json'] = () => host.blockDevices();
    parts['host/hung-calls.json'] = () => host.hungCalls();
  }
  for (const kind of servedKinds)
    parts[`objects/${kinds[kind].plural}.json`] = async () => (await deps.store.list(kind)).items;
  const files: TarFile[] = await Promise.all(
    Object.entries(parts).map(async ([name, gather]) => ({
      name: `azekura-support/${name}`,
      text: `${JSON.stringify(redact(await outcome(gather)), null, 2)}\n`,
    })),
  );
  files.push({ name: 'azekura-support/log.jsonl', text: deps.recentLog().map(redactLine).join('') });
  return tarGz(files, deps.clock.nowMs());
}

async function outcome(gather: () => unknown): Promise<unknown> {
  try {
    return await gather();
  } catch (error) {
    const { code, message } = toAzekuraError(error);
    return { error: { code, message } };
  }
}

const secretKey = /(token|secret|passw(or)?d|passphrase|credential|authorization|private.?key)/i;

/** A copy in which the values of fields whose names speak of secrets are gone. Names of secrets ("keySecretName") stay. */
export function redact(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      secretKey.test(key) && !key.endsWith('Name') ? '[redacted]' : redact(inner),
    ]),
  );
}

function redactLine(line: string): string {
  try {
    return `${JSON.stringify(redact(JSON.parse(line)))}\n`;
  } catch {
    return '"a line of the log that is not JSON was left out"\n';
  }
}
