import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import type { Host } from './host.ts';

/** The command whose output parseSmart() reads (smartctl(8)); a disk that sleeps is left asleep. */
export const smartArgv = (path: string) => ['smartctl', '--json', '--health', '--nocheck=standby', path] as const;
/** Every exit code is a set of bits, of which most do not keep it from telling what it knows. */
const anyExitCode = Array.from({ length: 128 }, (_, code) => code);
const lookEveryMs = 15 * 60_000;
const deadlineMs = 20_000;

const Output = z.object({
  smart_status: z.object({ passed: z.boolean().optional() }).optional(),
  nvme_smart_health_information_log: z.object({ critical_warning: z.int().optional() }).optional(),
});

/** NVM Express base specification, SMART / Health Information log page, byte 0. */
const nvmeWarnings = [
  'its spare blocks run out',
  'it is too hot or too cold',
  'its reliability is degraded',
  'it has become read-only',
  'its backup of volatile memory has failed',
];

/** What the disk says of itself, in one clause; undefined when it is well or does not tell. */
export function parseSmart(text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = Output.safeParse(value);
  if (!parsed.success) return undefined;
  const bits = parsed.data.nvme_smart_health_information_log?.critical_warning ?? 0;
  const warnings = nvmeWarnings.filter((_, bit) => (bits & (1 << bit)) !== 0);
  if (warnings.length > 0) return `it says that ${warnings.join(' and ')} (SMART)`;
  return parsed.data.smart_status?.passed === false ? 'it expects to fail soon (SMART)' : undefined;
}

/** Asks disks now and then, each in a domain of its own; one that does not answer says nothing. */
export function smartReader(exec: Host['exec'], clock: Clock): Host['diskProblem'] {
  const seen = new Map<string, { readonly atMs: number; readonly problem: Promise<string | undefined> }>();
  const ask = async (path: string) => {
    try {
      const options = { deadlineMs, domain: `smart${path}`, okExitCodes: anyExitCode };
      return parseSmart((await exec(smartArgv(path), options)).stdout);
    } catch {
      return undefined;
    }
  };
  return (path) => {
    const known = seen.get(path);
    if (known && clock.nowMs() - known.atMs < lookEveryMs) return known.problem;
    const problem = ask(path);
    seen.set(path, { atMs: clock.nowMs(), problem });
    return problem;
  };
}
