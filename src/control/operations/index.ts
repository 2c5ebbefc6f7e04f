import type { OperationsDeps } from '../deps.ts';
import type { Operations } from '../operations.ts';
import { adoptPool } from './adopt.ts';
import { changeVolumeKey } from './change-key.ts';
import { expandVolume, labelVolume, modifyVolume, repairVolume, restoreVolume, trimVolume } from './change-volume.ts';
import { createClass, deleteClass, updateClass } from './classes.ts';
import { OperationsContext } from './context.ts';
import { createVolume } from './create-volume.ts';
import { deleteVolume, purgeVolume, undeleteVolume } from './delete-volume.ts';
import { mountVolume, unmountVolume } from './mount.ts';
import { attachVolume, detachVolume, publishPath, stageVolume, unpublishPath, unstageVolume } from './node-use.ts';
import { changeDisks } from './pool-disks.ts';
import { cordonNode, createPool, drainPool, removePool, updatePool } from './pools.ts';
import { createSnapshot, createSnapshotGroup, deleteSnapshot, deleteSnapshotGroup } from './snapshots.ts';
import { stampedStore } from './stamped-store.ts';
import { status, why } from './status.ts';

/** Makes the operations: each is checked against the present state and written by one function of its own. */
export function createOperations(deps: OperationsDeps): Operations {
  const context = new OperationsContext(deps);
  return {
    as: ({ requestId }) => createOperations({ ...deps, store: stampedStore(deps.store, requestId) }),
    createVolume: (request) => createVolume(context, request),
    expandVolume: (name, sizeBytes, options = {}) => expandVolume(context, name, sizeBytes, options.dryRun === true),
    deleteVolume: (name, options = {}) => deleteVolume(context, name, options),
    undeleteVolume: (name, options = {}) => undeleteVolume(context, name, options),
    purgeVolume: (name) => purgeVolume(context, name),
    mountVolume: (name, options) => mountVolume(context, name, options),
    unmountVolume: (name, options = {}) => unmountVolume(context, name, options.path),
    restoreVolume: (name, snapshotName, options = {}) =>
      restoreVolume(context, name, snapshotName, options.dryRun === true),
    repairVolume: (name) => repairVolume(context, name),
    trimVolume: (name) => trimVolume(context, name),
    changeVolumeKey: (name, request) => changeVolumeKey(context, name, request),
    labelVolume: (name, labels) => labelVolume(context, name, labels),
    modifyVolume: (name, changes) => modifyVolume(context, name, changes),
    attachVolume: (name, request) => attachVolume(context, name, request),
    stageVolume: (name, request) => stageVolume(context, name, request),
    publishPath: (name, request) => publishPath(context, name, request),
    unpublishPath: (name, request) => unpublishPath(context, name, request),
    unstageVolume: (name, request) => unstageVolume(context, name, request),
    detachVolume: (name, request) => detachVolume(context, name, request),
    createSnapshot: (request) => createSnapshot(context, request),
    deleteSnapshot: (name, options = {}) => deleteSnapshot(context, name, options.dryRun === true),
    createSnapshotGroup: (request) => createSnapshotGroup(context, request),
    deleteSnapshotGroup: (name) => deleteSnapshotGroup(context, name),
    createPool: (request) => createPool(context, request),
    updatePool: (name, spec) => updatePool(context, name, spec),
    drainPool: (name, options = {}) => drainPool(context, name, options),
    changeDisks: (name, request) => changeDisks(context, name, request),
    removePool: (name, options = {}) => removePool(context, name, options),
    adoptPool: (name, request) => adoptPool(context, name, request),
    createClass: (name, spec) => createClass(context, name, spec),
    updateClass: (name, spec) => updateClass(context, name, spec),
    deleteClass: (name) => deleteClass(context, name),
    cordonNode: (name, cordoned) => cordonNode(context, name, cordoned),
    why: (kind, name) => why(context, kind, name),
    status: () => status(context),
  };
}
