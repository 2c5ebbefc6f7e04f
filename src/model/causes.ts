/**
 * The catalogue of causes. One row per state that keeps something from being as it should be; codes are never reused.
 * Each row has a page section in docs/causes.md (`npm run check` compares them).
 *
 * severity: blocking = what was asked for cannot happen; degraded = it works, at a risk; notice = worth knowing.
 * {placeholders} are filled by makeCause().
 */
interface CauseEntry {
  readonly severity: 'blocking' | 'degraded' | 'notice';
  readonly message: string;
  readonly nextStep: string;
}

const entries = {
  PoolFull: {
    severity: 'blocking',
    message: 'pool {pool} has no room: {wanted} wanted, {free} free after its reserve',
    nextStep:
      'add a disk with `azekura pool add`, empty the recycle bin, or delete snapshots with `azekura snapshot delete`',
  },
  PoolNearFull: {
    severity: 'degraded',
    message: 'pool {pool} is {percent}% full; new volumes and snapshots stop at its reserve',
    nextStep: 'add a disk with `azekura pool add`, or delete snapshots and recycled volumes before it fills',
  },
  PoolOvercommitted: {
    severity: 'degraded',
    message: 'pool {pool} has promised {promised} to thin volumes but has {capacity}',
    nextStep: 'add capacity, or use thick volumes for what must never run out of space',
  },
  PoolMissing: {
    severity: 'blocking',
    message: 'the place of pool {pool} is not there: {place}',
    nextStep: 'attach the disk or mount the file system that holds it; nothing has been deleted',
  },
  PoolReadOnly: {
    severity: 'blocking',
    message: 'pool {pool} is mounted read-only',
    nextStep: 'look for disk errors in the kernel log (dmesg), repair the cause, then remount the pool',
  },
  PoolForeign: {
    severity: 'blocking',
    message: 'the place of pool {pool} holds another pool ({found} instead of {expected})',
    nextStep: 'check which disk or file system is mounted there; Azekura will not write to it',
  },
  PoolIdentityDamaged: {
    severity: 'blocking',
    message: 'the identity file of pool {pool} cannot be read: {problem}',
    nextStep: 'read the data with `azekura rescue list`, and restore the file from its copy beside it',
  },
  PoolNoJournal: {
    severity: 'degraded',
    message:
      'pool {pool} lies on {filesystem} without a journal: a power cut can damage the pool and every volume in it',
    nextStep: 'use this pool for trials only; for real data add a disk or a directory on XFS or journaled ext4',
  },
  PoolOnBtrfs: {
    severity: 'degraded',
    message:
      'pool {pool} lies on btrfs: random writes are many times slower than on XFS and deleting snapshots takes seconds',
    nextStep: 'use a pool image or a disk of its own, and move the volumes with `azekura pool drain {pool}`',
  },
  PoolHostFull: {
    severity: 'blocking',
    message: 'the file system that holds the image of pool {pool} is full',
    nextStep: 'free space on {place} first; do not run a repairing fsck while it is full',
  },
  PoolIoErrors: {
    severity: 'degraded',
    message: 'the device under pool {pool} reports I/O errors',
    nextStep: 'replace the disk: drain the pool with `azekura pool drain {pool}`',
  },
  GroupLocked: {
    severity: 'blocking',
    message: 'volume group {group} is locked by {holder}',
    nextStep: 'let that command finish, or end it; Azekura tries again by itself',
  },
  PoolDiskMissing: {
    severity: 'blocking',
    message: 'pool {pool} lacks {missing} of its {disks} disks: {which}',
    nextStep: 'attach the disk again; nothing has been changed on the others',
  },
  PoolDegraded: {
    severity: 'degraded',
    message: 'pool {pool} has lost redundancy: {which}',
    nextStep: 'replace the disk that failed; until then another failure loses data',
  },
  PoolMetadataNearFull: {
    severity: 'degraded',
    message: 'the metadata of pool {pool} is {percent}% full, and its volume group has no room to extend it',
    nextStep: 'delete snapshots that are not needed, or add a disk to the pool',
  },
  PoolNeedsRepair: {
    severity: 'blocking',
    message: 'the kernel has stopped writing to pool {pool}: {problem}',
    nextStep: 'stop what uses {volumes}; the pool is repaired by itself as soon as no volume is in use',
  },
  DiskFailing: {
    severity: 'degraded',
    message: 'disk {disk} of pool {pool} is failing: {problem}',
    nextStep: 'add another disk to the pool, move the data away and replace it',
  },
  DiskStays: {
    severity: 'degraded',
    message: 'disk {disk} cannot leave pool {pool}: {problem}',
    nextStep: 'put another in its place with `azekura pool replace-disk {pool} {disk} NEW`',
  },
  DiskRefused: {
    severity: 'degraded',
    message: 'disk {disk} cannot become part of pool {pool}: {problem}',
    nextStep: 'mend that, or take the disk off the list with `azekura pool remove-disk {pool} {disk}`',
  },
  PoolDraining: {
    severity: 'notice',
    message: 'pool {pool} is being drained; nothing new is placed on it',
    nextStep: 'wait for the drain task, or end it with `azekura pool drain {pool} --cancel`',
  },
  PoolHasOrphans: {
    severity: 'notice',
    message: 'pool {pool} holds {volumes} volumes and {snapshots} snapshots that have no objects',
    nextStep: 'list them with `azekura pool show {pool}`; `azekura pool adopt {pool} --all` makes objects of them',
  },
  PoolNotFound: {
    severity: 'blocking',
    message: 'no pool can hold this volume: {reasons}',
    nextStep: 'add a pool with `azekura pool add`, or choose another class',
  },
  ClassNotFound: {
    severity: 'blocking',
    message: 'class {class} does not exist',
    nextStep: 'list the classes with `azekura class list`',
  },
  SourceNotFound: {
    severity: 'blocking',
    message: '{source} does not exist, so nothing can be made from it',
    nextStep: 'list what there is with `azekura snapshot list` and `azekura volume list`',
  },
  SourceNotReady: {
    severity: 'blocking',
    message: '{source} is not ready yet, so nothing can be made from it',
    nextStep: 'wait until it is ready; `azekura why` tells what keeps it',
  },
  NoLoopDevices: {
    severity: 'blocking',
    message: 'the kernel gives no free loop device: {problem}',
    nextStep: 'load the module (modprobe loop), raise max_loop, or give the container access to /dev/loop-control',
  },
  NotDirectIo: {
    severity: 'degraded',
    message: 'volume {volume} is attached without direct I/O, so its writes are cached twice',
    nextStep: 'check the sector size of the disk below the pool; detach and attach the volume after mending it',
  },
  HungCall: {
    severity: 'blocking',
    message: '{call} on {what} has not answered for {seconds} s; it was abandoned',
    nextStep: 'find out why the device or server below does not answer (dmesg, cables, network); other volumes go on',
  },
  Frozen: {
    severity: 'blocking',
    message: 'the file system of volume {volume} is frozen by somebody else',
    nextStep: 'thaw it with `fsfreeze --unfreeze {path}` when that program is no longer at work',
  },
  FreezeTimedOut: {
    severity: 'degraded',
    message: 'the file system of volume {volume} could not be frozen within {seconds} s, so the snapshot was not taken',
    nextStep: 'take the snapshot when the volume is less busy, or with --no-freeze (crash-consistent)',
  },
  EncryptionKeyMissing: {
    severity: 'blocking',
    message: 'volume {volume} is encrypted, and its key is not to be had: {problem}',
    nextStep:
      'put the key file on the node, or name the Secret with the key in the StorageClass (node-stage-secret-name)',
  },
  EncryptionKeyWrong: {
    severity: 'blocking',
    message: 'volume {volume} is encrypted, and the key that was given does not open it',
    nextStep: 'give the key that it was encrypted with, or both after a change: the new one and the one before',
  },
  EncryptionHeaderDamaged: {
    severity: 'blocking',
    message: 'the encryption header of volume {volume} cannot be read: {problem}',
    nextStep:
      'put its copy back with `cryptsetup luksHeaderRestore`, as docs/operations/encryption.md tells; do not format',
  },
  EncryptionUnsupported: {
    severity: 'blocking',
    message: 'this machine cannot open encrypted volumes (volume {volume}): {problem}',
    nextStep:
      'load the modules dm_mod and dm_crypt (modprobe dm_crypt), and give a container access to /dev/mapper/control',
  },
  InUse: {
    severity: 'blocking',
    message: '{what} is in use by {holder}',
    nextStep: 'stop what uses it, then `azekura volume umount`',
  },
  MountPointBusy: {
    severity: 'blocking',
    message: '{path} is not a free mount point: {problem}',
    nextStep: 'choose another path, or empty this one',
  },
  IdentityDamaged: {
    severity: 'degraded',
    message: 'the identity file of volume {volume} cannot be read: {problem}',
    nextStep: 'the data is untouched; it is written anew from the state, or look at it with `azekura rescue list`',
  },
  BackingMissing: {
    severity: 'blocking',
    message: 'the data of volume {volume} is not in its pool: {path}',
    nextStep: 'look for it with `azekura rescue list` on every disk; nothing is made anew in its place',
  },
  FilesystemNeedsCheck: {
    severity: 'blocking',
    message: 'the file system of volume {volume} is damaged and needs a check: {problem}',
    nextStep: 'unmount it and run `azekura volume repair {volume}` (needs free space in the pool)',
  },
  FilesystemGrowthBlocked: {
    severity: 'degraded',
    message: 'volume {volume} has grown, its mounted file system has not: {problem}',
    nextStep: 'unmount and mount the volume; it grows then',
  },
  MountFailed: {
    severity: 'blocking',
    message: 'volume {volume} cannot be mounted: {problem}',
    nextStep: 'read the kernel log (dmesg); look at the data with `azekura rescue mount`',
  },
  ToolMissing: {
    severity: 'blocking',
    message: '{tool} is not installed',
    nextStep: 'install the package {package}',
  },
  PermissionMissing: {
    severity: 'blocking',
    message: 'this process may not {action}: {problem}',
    nextStep: 'run Azekura as root with the capabilities named in docs/guide.md',
  },
  SnapshotSourceGone: {
    severity: 'blocking',
    message: 'volume {volume} of snapshot {snapshot} does not exist',
    nextStep: 'delete this snapshot object; no data belongs to it',
  },
  VolumeRecycled: {
    severity: 'notice',
    message: 'volume {volume} rests in the recycle bin until {until}; its snapshots come back with it',
    nextStep: '`azekura volume undelete {volume}` brings it back',
  },
  NodeCordoned: {
    severity: 'notice',
    message: 'node {node} is cordoned; nothing new is placed on it',
    nextStep: '`azekura node uncordon {node}` when it may be used again',
  },
  UnknownToCluster: {
    severity: 'degraded',
    message: 'node {node} keeps {count} objects that the cluster does not know: {objects}',
    nextStep: 'bring volumes back with `azekura pool adopt`; nothing of them has been deleted',
  },
  VolumeObjectMissing: {
    severity: 'blocking',
    message: 'the object of volume {volume} was removed; its data lies on pool {pool} of node {node}',
    nextStep: '`azekura pool adopt {pool} {volumeId}` makes the object again; nothing of the data has been deleted',
  },
  DeletedInUse: {
    severity: 'degraded',
    message: '{object} was deleted in the cluster, but pods on node {node} still use volume {volume}; they go on',
    nextStep:
      'end those pods, then it is detached and goes, its data stays; `azekura pool adopt` makes objects of the data again',
  },
  NameTakenInCluster: {
    severity: 'degraded',
    message: 'the cluster has something else under the names of {count} objects of node {node}: {objects}',
    nextStep: 'give one of the two another name; both stay as they are until then',
  },
  ClusterUnreachable: {
    severity: 'degraded',
    message: 'node {node} has not heard of the cluster since {since}',
    nextStep: 'look at the API server and the network; mounted volumes go on and volumes of this node can be used',
  },
  ClaimWaits: {
    severity: 'notice',
    message: 'claim {claim} has no volume yet, and nobody has complained',
    nextStep: 'start a pod that uses it, or wait: a class with WaitForFirstConsumer makes volumes where the pod goes',
  },
  ClaimNotProvisioned: {
    severity: 'blocking',
    message: 'claim {claim} has no volume: {problem}',
    nextStep: 'change what is named in the claim or its class; it is tried again by itself',
  },
  PodNotScheduled: {
    severity: 'blocking',
    message: 'pod {pod} has no node: {problem}',
    nextStep: 'see where there is room with `azekura pool list`, and what else the pod asks of a node',
  },
  StepFailed: {
    severity: 'blocking',
    message: 'step {step} failed: {problem}',
    nextStep: 'it is tried again by itself; `azekura task show {task}` has the details',
  },
} satisfies Record<string, CauseEntry>;

export type CauseCode = keyof typeof entries;
export type { CauseEntry };

/** All causes by code. */
export const causeCatalogue: Readonly<Record<CauseCode, CauseEntry>> = entries;
