import { BlockMetadataType, type SnapshotMetadata } from '../gen/csi/csi_pb.js';
import { AzekuraError } from '../model/errors.ts';
import type { Snapshot } from '../model/kinds.ts';
import { bytesOf, required } from './common/arguments.ts';
import type { CsiContext } from './common/context.ts';
import type { BlockPage, BlockRange, BlockRangePage } from './deps.ts';
import type { Handlers } from './grpc/adapter.ts';
import type { Call } from './grpc/call.ts';

/** Ranges in one message when the caller does not say. */
const defaultResults = 1_000;
const mostResults = 10_000;

interface Answer {
  readonly blockMetadataType: BlockMetadataType;
  readonly volumeCapacityBytes: bigint;
  readonly blockMetadata: { byteOffset: bigint; sizeBytes: bigint }[];
}

/** CSI's snapshot metadata service: which blocks a snapshot holds, and which have changed between two. */
export function snapshotMetadata(context: CsiContext): Handlers<typeof SnapshotMetadata> {
  const { changedBlocks } = context.deps;
  return {
    getMetadataAllocated: async function* (request, call) {
      const handle = required(request.snapshotId, 'snapshot_id');
      checkNumbers(request);
      const snapshot = await ready(context, handle);
      yield* stream(snapshot, request, call, (page) => changedBlocks.allocated(snapshot, page));
    },
    getMetadataDelta: async function* (request, call) {
      const baseHandle = required(request.baseSnapshotId, 'base_snapshot_id');
      const targetHandle = required(request.targetSnapshotId, 'target_snapshot_id');
      checkNumbers(request);
      const base = await ready(context, baseHandle);
      const target = await ready(context, targetHandle);
      if (base.spec.volumeId !== target.spec.volumeId)
        throw new AzekuraError('InvalidArgument', 'the two snapshots are not of the same volume');
      yield* stream(target, request, call, (page) => changedBlocks.changed(base, target, page));
    },
  };
}

function checkNumbers(request: { readonly startingOffset: bigint; readonly maxResults: number }): void {
  if (request.startingOffset < 0n) throw new AzekuraError('OutOfRange', 'field starting_offset is negative');
  if (request.maxResults < 0) throw new AzekuraError('InvalidArgument', 'field max_results is negative');
}

async function ready(context: CsiContext, handle: string): Promise<Snapshot> {
  const snapshot = await context.needSnapshot(handle);
  if (!snapshot.status.readyToUse || snapshot.metadata.deletionTimestamp)
    throw new AzekuraError('FailedPrecondition', `snapshot ${snapshot.metadata.name} is not ready`);
  return snapshot;
}

/**
 * The ranges from an offset on, ascending, none cut short at a page's end. The first one ends behind the offset, so that
 * who was interrupted goes on at the end of the last range it has.
 */
async function* stream(
  snapshot: Snapshot,
  request: { readonly startingOffset: bigint; readonly maxResults: number },
  call: Call,
  read: (page: BlockPage) => Promise<BlockRangePage>,
): AsyncIterable<Answer> {
  const capacityBytes = snapshot.status.sizeBytes;
  const fromBytes = bytesOf(request.startingOffset, 'starting_offset');
  if (fromBytes > 0 && fromBytes >= capacityBytes)
    throw new AzekuraError('OutOfRange', `starting_offset lies beyond the snapshot's ${capacityBytes} bytes`);
  const limit = Math.min(request.maxResults || defaultResults, mostResults);
  let nextBytes: number | undefined = fromBytes;
  let sent = false;
  while (nextBytes !== undefined) {
    call.signal.throwIfAborted();
    const page: BlockRangePage = await read({ fromBytes: nextBytes, limit });
    const ranges = page.ranges.filter((range) => range.lengthBytes > 0);
    for (let index = 0; index < ranges.length; index += limit) {
      yield answer(capacityBytes, ranges.slice(index, index + limit));
      sent = true;
    }
    nextBytes = page.nextBytes;
  }
  // One message always, so that the caller learns the capacity also of an empty snapshot.
  if (!sent) yield answer(capacityBytes, []);
}

function answer(capacityBytes: number, ranges: readonly BlockRange[]): Answer {
  return {
    blockMetadataType: BlockMetadataType.VARIABLE_LENGTH,
    volumeCapacityBytes: BigInt(capacityBytes),
    blockMetadata: ranges.map(({ offsetBytes, lengthBytes }) => ({
      byteOffset: BigInt(offsetBytes),
      sizeBytes: BigInt(lengthBytes),
    })),
  };
}
