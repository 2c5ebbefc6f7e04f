/** The lab as a library; see README.md. */
export type { ExecOptions, ExecResult, RemoteProcess } from './channel.ts';
export type { DiskOptions, DiskSpec } from './disks.ts';
export {
  type Ack,
  AckRecorder,
  acknowledgedBy,
  type CrashedDisks,
  CrashReplay,
  type Instant,
  instantOf,
} from './durability.ts';
export { LabError } from './error.ts';
export { Lab, type LabOptions, type MachineSetup, startMachines, takeDown } from './lab.ts';
export { Machine, RemoteCommandFailed } from './machine.ts';
export { MachineDisk } from './machine-disk.ts';
export { MachinePostgres, type Survivors, verifyFiles, writeFiles } from './writers.ts';
