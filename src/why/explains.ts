import type { CauseCode } from '../model/causes.ts';

/** What goes wrong above a pool that is not there, cannot be written, or does not answer. */
const abovePool: readonly CauseCode[] = [
  'BackingMissing',
  'IdentityDamaged',
  'MountFailed',
  'FilesystemNeedsCheck',
  'StepFailed',
  'SnapshotSourceGone',
  'SourceNotReady',
  'SourceNotFound',
  'PoolNotFound',
  'NotDirectIo',
  'FreezeTimedOut',
];

/**
 * Which causes can be symptoms of which: root → symptoms. A root explains them only where one object depends on the
 * other. What is not listed here stands for itself.
 */
const symptoms: Partial<Readonly<Record<CauseCode, readonly CauseCode[]>>> = {
  PoolMissing: [...abovePool, 'PoolIdentityDamaged', 'PoolForeign', 'HungCall', 'PoolIoErrors'],
  PoolForeign: [...abovePool, 'PoolIdentityDamaged'],
  PoolIdentityDamaged: abovePool,
  PoolReadOnly: [...abovePool, 'PoolIdentityDamaged'],
  PoolIoErrors: [...abovePool, 'PoolReadOnly', 'PoolIdentityDamaged', 'HungCall'],
  PoolHostFull: [...abovePool, 'PoolFull', 'PoolReadOnly', 'PoolIoErrors'],
  PoolFull: [
    'StepFailed',
    'MountFailed',
    'FilesystemNeedsCheck',
    'FilesystemGrowthBlocked',
    'PoolNotFound',
    'PoolNearFull',
    'PoolOvercommitted',
    'SourceNotReady',
  ],
  GroupLocked: ['StepFailed', 'SourceNotReady', 'PoolMissing'],
  PoolDiskMissing: [...abovePool, 'PoolMissing', 'PoolDegraded', 'PoolNeedsRepair'],
  PoolNeedsRepair: [...abovePool, 'PoolMissing'],
  DiskFailing: [...abovePool, 'PoolIoErrors', 'PoolDiskMissing', 'PoolDegraded', 'HungCall'],
  PoolDraining: ['PoolNotFound'],
  NodeCordoned: ['PoolNotFound'],
  PermissionMissing: [...abovePool, 'NoLoopDevices', 'PoolMissing', 'FilesystemGrowthBlocked', 'ToolMissing'],
  ToolMissing: ['StepFailed', 'MountFailed', 'FilesystemGrowthBlocked', 'PoolMissing', 'SourceNotReady'],
  NoLoopDevices: ['StepFailed', 'MountFailed', 'PoolMissing', 'SourceNotReady'],
  HungCall: ['StepFailed', 'FreezeTimedOut', 'MountFailed', 'SourceNotReady', 'InUse'],
  BackingMissing: ['MountFailed', 'StepFailed', 'SourceNotReady', 'SnapshotSourceGone'],
  VolumeRecycled: ['SourceNotReady'],
  Frozen: ['InUse', 'StepFailed', 'FreezeTimedOut'],
  FilesystemNeedsCheck: ['MountFailed', 'FilesystemGrowthBlocked', 'StepFailed', 'SourceNotReady'],
  MountFailed: ['SourceNotReady'],
  InUse: ['StepFailed', 'SourceNotReady'],
  StepFailed: ['SourceNotReady'],
  FreezeTimedOut: ['SourceNotReady'],
};

/** Whether a cause of something that is depended on explains a cause above it. The same code explains itself. */
export function explains(root: CauseCode, symptom: CauseCode): boolean {
  return root === symptom || (symptoms[root]?.includes(symptom) ?? false);
}
