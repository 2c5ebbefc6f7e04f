/** What an engine is given when it is tried or measured without a daemon. */
import type { EngineDeps, PoolRef, VolumeIdentity } from '../src/engines/contract.ts';
import type { Host } from '../src/host/host.ts';
import { systemClock, timestamp } from '../src/lib/clock.ts';
import { newUid } from '../src/lib/id.ts';
import { KeyedLock } from '../src/lib/keyed-lock.ts';
import { silentLogger } from '../src/lib/log.ts';
import { makeSteps } from '../src/lib/steps.ts';
import type { PoolSource } from '../src/model/pool.ts';

/**
 * @param runtimeDir a folder on the machine's own disk or in memory
 * @param other steps that are watched or interrupted, a log that is read
 */
export function engineDeps(
  host: Host,
  runtimeDir: string,
  other: Partial<Pick<EngineDeps, 'steps' | 'log'>> = {},
): EngineDeps {
  return {
    host,
    clock: systemClock,
    log: silentLogger,
    steps: makeSteps(),
    locks: new KeyedLock(),
    nodeName: 'lab',
    runtimeDir,
    ...other,
  };
}

/** A pool before it is made. */
export function poolAt(name: string, source: PoolSource, reservePercent = 5): PoolRef {
  return { name, source, reservePercent, acceptNoJournal: true, trial: false };
}

/** Of a raw and thin volume, unless told. */
export function identityFor(
  volumeId: string,
  part: Pick<VolumeIdentity, 'sizeBytes'> & Partial<VolumeIdentity>,
): VolumeIdentity {
  return {
    name: `v-${volumeId}`,
    uid: newUid(),
    volumeId,
    className: 'lab',
    mode: part.filesystem ? 'filesystem' : 'block',
    provisioning: 'thin',
    createdAt: timestamp(systemClock),
    generation: 1,
    ...part,
  };
}
