import type { EngineDefinition } from '../contract.ts';
import { makeContext } from './context.ts';
import { LvmParameters } from './parameters.ts';
import { listPool, sweepPool } from './pool-list.ts';
import { maintainPool, observePool } from './pool-observe.ts';
import { closePool, destroyPool, inspectPool, openPool } from './pool-open.ts';
import { extentBytes } from './sizing.ts';
import { lvmDiff, lvmSnapshots } from './snapshots.ts';
import { lvmVolumes } from './volumes.ts';

/** Volumes as logical volumes on the disks of one machine. Needs LVM2 and the kernel's device mapper. */
export const lvmEngine: EngineDefinition = {
  kind: 'lvm',
  title: 'Logical volumes on local disks',
  capabilities: {
    access: ['filesystem', 'block'],
    provisioning: ['thin', 'thick'],
    filesystems: ['xfs', 'ext4'],
    replicas: [1],
    shared: false,
    poolIsFilesystem: false,
    sizeStepBytes: extentBytes,
    snapshots: true,
    snapshotProvisioning: ['thin'],
    cutHoldsMounted: true,
    groupBlock: false,
    clones: true,
    restoreInPlace: true,
    changedBlocks: true,
    unwrittenIsZero: true,
    onlineExpansion: true,
    move: 'detached',
    recycle: true,
    rescue: true,
  },
  parameters: LvmParameters,
  poolSources: ['disks', 'volumeGroup'],
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
        maintain: (pool) => maintainPool(context, pool),
      },
      volumes: lvmVolumes(context),
      snapshots: lvmSnapshots(context),
      diff: lvmDiff(context),
    };
  },
};
