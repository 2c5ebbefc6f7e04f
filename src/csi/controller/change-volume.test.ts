import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeCause } from '../../model/cause.ts';
import { type Driver, startDriver } from '../fake/driver.ts';
import { block, code, gib, makeVolume } from '../fake/kit.ts';

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver({ maxVolumesPerNode: 3 });
});
afterEach(() => driver.close());

const volume = (name: string, extra: object = {}) => makeVolume(driver, name, extra);

describe('changing volumes', () => {
  it('expands to exactly what is asked, never shrinks, and answers OK for what is large enough', async () => {
    const handle = await volume('pvc-1');
    const expand = (requiredBytes: bigint) =>
      driver.client.controller.controllerExpandVolume({ volumeId: handle, capacityRange: { requiredBytes } });
    expect(await expand(2n * gib)).toMatchObject({ capacityBytes: 2n * gib, nodeExpansionRequired: true });
    expect((await expand(gib)).capacityBytes).toBe(2n * gib);
    expect(await code(driver.client.controller.controllerExpandVolume({ volumeId: handle }))).toBe('INVALID_ARGUMENT');
    driver.operations.capacityBytes = 1;
    // Any other code would keep the resizer from ever asking for less.
    expect(await code(expand(9n * gib))).toBe('OUT_OF_RANGE');
  });

  it('modifies all or nothing', async () => {
    const handle = await volume('pvc-1', { mutableParameters: { recycle: '1h' } });
    const modify = (mutableParameters: Record<string, string>) =>
      code(driver.client.controller.controllerModifyVolume({ volumeId: handle, mutableParameters }));
    expect(await modify({ recycle: '2h', other: 'x' })).toBe('INVALID_ARGUMENT');
    expect(await modify({ recycle: 'soon' })).toBe('INVALID_ARGUMENT');
    expect((await driver.store.get('Volume', 'pvc-1')).spec.recycleMs).toBe(3_600_000);
    expect(await modify({})).toBe('OK');
    expect(await code(driver.client.controller.controllerModifyVolume({ volumeId: 'unknown' }))).toBe('NOT_FOUND');
  });

  it('answers by the table: unknown volume, another kind of use, a limit below what there is', async () => {
    const handle = await volume('pvc-1');
    const raw = await volume('pvc-2', { volumeCapabilities: [block] });
    const expand = (volumeId: string, capacityRange: object, extra: object = {}) =>
      driver.client.controller.controllerExpandVolume({ volumeId, capacityRange, ...extra });
    expect(await code(expand('unknown', { requiredBytes: gib }))).toBe('NOT_FOUND');
    expect(await code(expand('', { requiredBytes: gib }))).toBe('INVALID_ARGUMENT');
    expect(await code(expand(handle, {}))).toBe('INVALID_ARGUMENT');
    expect(await code(expand(handle, { requiredBytes: 2n * gib }, { volumeCapability: block }))).toBe(
      'INVALID_ARGUMENT',
    );
    expect(await code(expand(handle, { limitBytes: gib / 2n }))).toBe('OUT_OF_RANGE');
    expect(await code(expand(handle, { requiredBytes: 2n ** 62n }))).toBe('OUT_OF_RANGE');
    expect(await expand(handle, { requiredBytes: gib, limitBytes: gib })).toMatchObject({ capacityBytes: gib });
    // A raw block volume is as large as it is: the node has nothing to do.
    expect(await expand(raw, { requiredBytes: 2n * gib })).toMatchObject({
      capacityBytes: 2n * gib,
      nodeExpansionRequired: false,
    });
  });

  it('answers FAILED_PRECONDITION where the volume cannot grow while it is used', async () => {
    const handle = await volume('pvc-1');
    driver.agent.hold('pvc-1');
    const growing = code(
      driver.client.controller.controllerExpandVolume({ volumeId: handle, capacityRange: { requiredBytes: 2n * gib } }),
    );
    await expect.poll(async () => (await driver.store.get('Volume', 'pvc-1')).spec.sizeBytes).toBe(2 ** 31);
    const stored = await driver.store.get('Volume', 'pvc-1');
    const causes = [makeCause('InUse', { what: 'volume pvc-1', holder: 'node-a' })];
    await driver.store.updateStatus({ ...stored, status: { ...stored.status, causes } });
    expect(await growing).toBe('FAILED_PRECONDITION');
  });
});
