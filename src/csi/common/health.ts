import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type NodeGetStorageHealthResponse_StorageBackendHealthSchema,
  StorageHealthErrorType,
  VolumeHealthErrorType,
  type VolumeHealthSchema,
} from '../../gen/csi/csi_pb.js';
import type { Cause } from '../../model/cause.ts';
import { type CauseCode, causeCatalogue } from '../../model/causes.ts';

/** Causes that say that bytes may be gone. */
const dataLoss: ReadonlySet<CauseCode> = new Set<CauseCode>(['BackingMissing', 'FilesystemNeedsCheck']);
const longestMessage = 256;

/** A volume's causes as CSI's health: blocking ones make it inaccessible; notices are no matter of health. */
export function volumeHealth(handle: string, causes: readonly Cause[]): MessageInitShape<typeof VolumeHealthSchema> {
  const entries = new Map<string, { status: VolumeHealthErrorType; reason: string; message: string }>();
  for (const cause of causes) {
    const { severity } = causeCatalogue[cause.code];
    if (severity === 'notice') continue;
    const status = dataLoss.has(cause.code)
      ? VolumeHealthErrorType.DATA_LOSS
      : severity === 'blocking'
        ? VolumeHealthErrorType.INACCESSIBLE
        : VolumeHealthErrorType.DEGRADED;
    // Entries are unique by status and reason (CSI 1.13, VolumeHealth).
    entries.set(`${status}/${cause.code}`, { status, reason: cause.code, message: sentence(cause) });
  }
  return { volumeId: handle, healthStatuses: [...entries.values()] };
}

/** A pool's causes as the health of a storage backend. */
export function storageHealth(
  causes: readonly Cause[],
): MessageInitShape<typeof NodeGetStorageHealthResponse_StorageBackendHealthSchema>[] {
  return causes.flatMap((cause) => {
    const { severity } = causeCatalogue[cause.code];
    if (severity === 'notice') return [];
    const status =
      severity === 'blocking' ? StorageHealthErrorType.STORAGE_UNREACHABLE : StorageHealthErrorType.STORAGE_DEGRADED;
    return [{ status, reason: cause.code, message: sentence(cause) }];
  });
}

function sentence(cause: Cause): string {
  const text = `${cause.message}; ${cause.nextStep}`;
  return text.length > longestMessage ? `${text.slice(0, longestMessage - 1)}…` : text;
}
