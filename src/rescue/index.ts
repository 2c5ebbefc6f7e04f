/** Reads pools with no daemon and no state: what is on the disk is all there is. */
export { exportVolume } from './export.ts';
export { mountVolume, unmount } from './mount.ts';
export type {
  ExportOptions,
  ExportResult,
  MountOptions,
  MountResult,
  RescueDeps,
  RescuedPool,
  RescuedSnapshot,
  RescuedVolume,
  RescueReport,
  ScanOptions,
  UnmountOptions,
  VolumeChoice,
} from './report.ts';
export { scan } from './scan.ts';
