import { z } from 'zod';
import { sectorBytes } from '../../model/volume.ts';
import type { EngineDefinition } from '../contract.ts';
import { makeContext } from './context.ts';
import { listPool, sweepPool } from './pool-list.ts';
import { observePool } from './pool-observe.ts';
import { closePool, destroyPool, openPool } from './pool-open.ts';
import { inspectPool } from './pool-place.ts';
import { fileDiff, fileSnapshots } from './snapshots.ts';
import { fileVolumes } from './volumes.ts';

/** Volumes as files in a reflink file system of one machine: needs nothing but Linux. */
export const fileEngine: EngineDefinition = {
  kind: 'file',
  title: 'Files with shared blocks on a local XFS',
  capabilities: {
    access: ['filesystem', 'block'],
    provisioning: ['thin', 'thick'],
    filesystems: ['xfs', 'ext4'],
    replicas: [1],
    shared: false,
    poolIsFilesystem: true,
    sizeStepBytes: sectorBytes,
    snapshots: true,
    snapshotProvisioning: ['thin', 'thick'],
    cutHoldsMounted: false,
    groupBlock: false,
    clones: true,
    restoreInPlace: true,
    changedBlocks: true,
    unwrittenIsZero: true,
    onlineExpansion: true,
    move: 'readOnlyBlock',
    recycle: true,
    rescue: true,
  },
  parameters: z.object({}).strict(),
  poolSources: ['directory', 'image', 'device'],
  create(deps) {
    const context = makeContext(deps);
    return {
      pools: {
        inspect: (pool) => inspectPool(context, pool),
        open: (pool) => openPool(context, pool),
        observe: (pool) => observePool(context, pool),
        close: (pool) => closePool(context, pool),
        destroy: (pool) => destroyPool(context, pool),
        list: (pool) => listPool(context, pool),
        sweep: (pool, options) => sweepPool(context, pool, options),
      },
      volumes: fileVolumes(context),
      snapshots: fileSnapshots(context),
      diff: fileDiff(context),
    };
  },
};
