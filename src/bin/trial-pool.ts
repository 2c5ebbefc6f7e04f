import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Operations } from '../control/operations.ts';
import type { Host } from '../host/host.ts';
import type { FilesystemStat } from '../host/kernel.ts';
import { formatBytes } from '../lib/quantity.ts';
import { AzekuraError } from '../model/errors.ts';
import type { Pool } from '../model/kinds.ts';
import type { PoolSource } from '../model/pool.ts';
import { shareBytes, smallestPoolBytes } from '../model/pool-share.ts';
import type { Store } from '../store/store.ts';
import type { DataDir } from './data-dir.ts';

const gibibyte = 2 ** 30;
/** Of the disk; it stays free for the machine itself. */
const spareFraction = 0.1;
const readyTimeoutMs = 60_000;
/** Somebody who tries things out makes volumes far larger than what goes into them. */
const trialOvercommitRatio = 10;

export const trialPoolName = 'trial';

/**
 * The size of the pool for a first try: a bounded share of the disk.
 *
 * @param wantedBytes what the user asked for; otherwise 20 % of what is free, at most 20 GiB
 * @returns undefined when the disk is too full for any; @throws AzekuraError ResourceExhausted when it is for what was asked
 */
export function trialPoolBytes(
  disk: Pick<FilesystemStat, 'sizeBytes' | 'availableBytes'>,
  wantedBytes?: number,
): number | undefined {
  if (wantedBytes !== undefined) {
    if (wantedBytes < smallestPoolBytes)
      throw new AzekuraError('OutOfRange', `a pool of ${formatBytes(wantedBytes)} is too small`, {
        next: `ask for at least ${formatBytes(smallestPoolBytes)}`,
      });
    if (wantedBytes <= disk.availableBytes - disk.sizeBytes * spareFraction) return wantedBytes;
    throw new AzekuraError(
      'ResourceExhausted',
      `a pool of ${formatBytes(wantedBytes)} would leave less than a tenth of the disk free (${formatBytes(disk.availableBytes)} of ${formatBytes(disk.sizeBytes)} are)`,
      {
        next: 'choose a smaller --pool-size, another --data-dir, or --no-pool',
      },
    );
  }
  return shareBytes(disk, { fraction: 0.2, maximumBytes: 20 * gibibyte, spareFraction });
}

export interface TrialPoolDeps {
  readonly store: Store;
  readonly host: Host;
  readonly operations: Operations;
  readonly dataDir: DataDir;
  readonly nodeName: string;
  readonly sizeBytes?: number;
}

/**
 * Makes the pool for a first try, once in the life of an instance: who removes it does not want it back. Waits until
 * it can be used.
 *
 * @returns sentences about what was made or why nothing was
 */
export async function makeTrialPool(deps: TrialPoolDeps): Promise<readonly string[]> {
  const kernel = deps.host.kernel(`pool/${trialPoolName}`);
  if ((await deps.store.list('Pool', { limit: 1 })).items.length > 0) return [];
  if ((await kernel.stat(deps.dataDir.trialMarker)) !== undefined)
    return ['There is no pool: add one with `azekura pool add NAME PLACE`.'];
  const disk = await kernel.statfs(deps.dataDir.pools);
  const asDirectory =
    deps.sizeBytes === undefined && disk.type === 'xfs' && (await kernel.canClone(deps.dataDir.pools));
  const imagePath = join(deps.dataDir.pools, `${trialPoolName}.img`);
  // An uninstall leaves the pool with its data: it is taken up again as it is.
  const leftImage = await kernel.stat(imagePath);
  const sizeBytes = leftImage?.sizeBytes ?? trialPoolBytes(disk, deps.sizeBytes);
  if (sizeBytes === undefined)
    return [
      `There is no pool: ${formatBytes(disk.availableBytes)} free on this disk are too few for one. Add one with \`azekura pool add NAME PLACE\`.`,
    ];
  const source: PoolSource = asDirectory
    ? { kind: 'directory', path: join(deps.dataDir.pools, trialPoolName) }
    : { kind: 'image', path: imagePath, sizeBytes };
  if (asDirectory) await kernel.makeDirectory(source.path, 0o700);
  await deps.operations.createPool({
    name: trialPoolName,
    spec: { source, nodeName: deps.nodeName, trial: true, overcommitRatio: trialOvercommitRatio },
  });
  await writeFile(deps.dataDir.trialMarker, 'The trial pool was made; remove this file to have it made again.\n', {
    mode: 0o600,
  });
  const pool = await untilSettled(deps.store);
  if (pool?.status.phase !== 'Ready') return ['The trial pool is not ready yet: see `azekura why pool/trial`.'];
  const share = asDirectory
    ? `It takes from ${deps.dataDir.pools} only what is written`
    : `It takes ${formatBytes(sizeBytes)} of the ${formatBytes(disk.availableBytes)} free on this disk`;
  return [
    leftImage
      ? `Opened pool "${trialPoolName}" at ${source.path}, which was there already; what lies on it is untouched.`
      : `Made pool "${trialPoolName}" at ${source.path}. ${share}.`,
    ...pool.status.causes.map((cause) => `Note: ${cause.message}; ${cause.nextStep}.`),
    `To give the space back: azekura pool remove ${trialPoolName} --destroy (everything at once: azekura uninstall --delete-data).`,
  ];
}

async function untilSettled(store: Store): Promise<Pool | undefined> {
  const signal = AbortSignal.timeout(readyTimeoutMs);
  for await (const event of store.watch('Pool', { signal })) {
    if ('object' in event && event.object.metadata.name === trialPoolName && event.object.status.phase === 'Ready')
      return event.object;
  }
  return store.find('Pool', trialPoolName);
}
