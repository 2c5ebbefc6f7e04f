import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AzekuraError } from '../model/errors.ts';
import type { BlockPage, BlockRangePage } from './deps.ts';
import { type Driver, startDriver } from './fake/driver.ts';
import { code, gib, makeVolume } from './fake/kit.ts';

const mib = 1 << 20;
/** What has changed: every other MiB of the first twenty. */
const all = Array.from({ length: 10 }, (_, index) => ({ offsetBytes: index * 2 * mib, lengthBytes: mib }));

function page({ fromBytes, limit }: BlockPage): BlockRangePage {
  const rest = all.filter((range) => range.offsetBytes + range.lengthBytes > fromBytes);
  const next = rest[limit];
  return next ? { ranges: rest.slice(0, limit), nextBytes: next.offsetBytes } : { ranges: rest };
}

let driver: Driver;
let base: string;
let target: string;
let comparable = true;
beforeEach(async () => {
  comparable = true;
  driver = await startDriver({
    changedBlocks: {
      allocated: async (_snapshot, from) => page(from),
      changed: async (_base, _target, from) => {
        if (!comparable) throw new AzekuraError('FailedPrecondition', 'the two lie on different pools');
        return page(from);
      },
    },
  });
  const handle = await makeVolume(driver, 'a');
  [base = '', target = ''] = await Promise.all(['s1', 's2'].map((name) => snapshotOf(handle, name)));
});
afterEach(() => driver.close());

async function snapshotOf(sourceVolumeId: string, name: string): Promise<string> {
  const { snapshot } = await driver.client.controller.createSnapshot({ name, sourceVolumeId });
  return snapshot?.snapshotId ?? '';
}

const allocated = (extra: object = {}) => driver.client.metadata.getMetadataAllocated({ snapshotId: target, ...extra });
const delta = (extra: object = {}) =>
  driver.client.metadata.getMetadataDelta({ baseSnapshotId: base, targetSnapshotId: target, ...extra });

describe.each([
  ['GetMetadataAllocated', allocated],
  ['GetMetadataDelta', delta],
])('%s', (_name, call) => {
  it('streams ascending ranges of one style and one capacity, at most as many in a message as are wanted', async () => {
    const answers = await call({ maxResults: 3 });
    expect(answers.map((one) => one.blockMetadata.length)).toEqual([3, 3, 3, 1]);
    expect(new Set(answers.map((one) => `${one.blockMetadataType} ${one.volumeCapacityBytes}`)).size).toBe(1);
    expect(answers[0]?.volumeCapacityBytes).toBe(gib);
    const ranges = answers.flatMap((one) => one.blockMetadata);
    expect(ranges.map((one) => [Number(one.byteOffset), Number(one.sizeBytes)])).toEqual(
      all.map((one) => [one.offsetBytes, one.lengthBytes]),
    );
  });

  it('begins with a range that ends behind the starting offset', async () => {
    const from = async (startingOffset: number) =>
      Number((await call({ startingOffset: BigInt(startingOffset) }))[0]?.blockMetadata[0]?.byteOffset);
    expect(await from(0)).toBe(0);
    expect(await from(mib - 1)).toBe(0);
    expect(await from(mib)).toBe(2 * mib);
    expect(await call({ startingOffset: BigInt(19 * mib) })).toMatchObject([{ blockMetadata: [] }]);
  });

  it.each([
    ['a negative offset', { startingOffset: -1n }, 'OUT_OF_RANGE'],
    ['an offset at the end', { startingOffset: gib }, 'OUT_OF_RANGE'],
    ['an offset beyond any volume', { startingOffset: 2n ** 62n }, 'OUT_OF_RANGE'],
    ['a negative number of results', { maxResults: -1 }, 'INVALID_ARGUMENT'],
    ['an unknown snapshot', { snapshotId: 'unknown', targetSnapshotId: 'unknown' }, 'NOT_FOUND'],
    ['no snapshot', { snapshotId: '', targetSnapshotId: '' }, 'INVALID_ARGUMENT'],
  ])('answers to %s', async (_what, extra, answer) => {
    expect(await code(call(extra))).toBe(answer);
  });

  it('answers FAILED_PRECONDITION for a snapshot that is not cut yet', async () => {
    const handle = await makeVolume(driver, 'b');
    driver.agent.hold('uncut');
    const making = driver.client.controller.createSnapshot({ name: 'uncut', sourceVolumeId: handle });
    await expect.poll(async () => (await driver.store.find('Snapshot', 'uncut')) !== undefined).toBe(true);
    const snapshotId = (await driver.store.get('Snapshot', 'uncut')).spec.snapshotId ?? '';
    expect(await code(call({ snapshotId, targetSnapshotId: snapshotId }))).toBe('FAILED_PRECONDITION');
    await driver.agent.release('uncut');
    await making;
  });
});

describe('GetMetadataDelta alone', () => {
  it('answers INVALID_ARGUMENT for snapshots of two volumes, NOT_FOUND for an unknown base', async () => {
    const other = await snapshotOf(await makeVolume(driver, 'b'), 's3');
    expect(await code(delta({ targetSnapshotId: other }))).toBe('INVALID_ARGUMENT');
    expect(await code(delta({ baseSnapshotId: 'unknown' }))).toBe('NOT_FOUND');
  });

  it('answers FAILED_PRECONDITION where the engine cannot compare, so that the caller makes a full backup', async () => {
    comparable = false;
    expect(await code(delta())).toBe('FAILED_PRECONDITION');
  });
});
