import { describe, expect, it } from 'vitest';
import type { PoolObservation } from '../../engines/contract.ts';
import { makeCause } from '../../model/cause.ts';
import { PoolSpec, PoolStatus } from '../../model/pool.ts';
import { poolFigures } from './figures.ts';

const gibibyte = 2 ** 30;
const metadata = {
  name: 'main',
  uid: 'u',
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: '2026-01-01T00:00:00.000Z',
  finalizers: [],
  ownerReferences: [],
  labels: {},
  annotations: {},
};
const pool = (spec: Partial<PoolSpec> = {}) => ({
  metadata,
  spec: PoolSpec.parse({ nodeName: 'here', source: { kind: 'directory', path: '/p' }, reservePercent: 5, ...spec }),
  status: PoolStatus.parse({}),
});
const seen = (freeGi: number, part: Partial<PoolObservation> = {}): PoolObservation => ({
  present: true,
  path: '/p',
  capacityBytes: 100 * gibibyte,
  freeBytes: freeGi * gibibyte,
  causes: [],
  ...part,
});
const sums = (promisedGi: number) => ({ promisedBytes: promisedGi * gibibyte, reservedBytes: 0, volumes: 1 });
const codes = (freeGi: number, promisedGi = 0, spec: Partial<PoolSpec> = {}) =>
  poolFigures(pool(spec), seen(freeGi), sums(promisedGi), 0).causes?.map((cause) => cause.code);

describe('poolFigures', () => {
  it.each([
    [50, 0, []],
    [21, 0, []],
    [20, 0, ['PoolNearFull']],
    [6, 0, ['PoolNearFull']],
    [5, 0, ['PoolFull']],
    [0, 0, ['PoolFull']],
    [50, 100, []],
    [50, 101, ['PoolOvercommitted']],
    [51, 101, []],
    [100, 200, []],
    [100, 201, ['PoolOvercommitted']],
    [5, 101, ['PoolFull', 'PoolOvercommitted']],
  ])('with %i Gi free and %i Gi promised has %j', (freeGi, promisedGi, expected) => {
    expect(codes(freeGi, promisedGi)).toEqual(expected);
  });

  it('says what may still be made', () => {
    expect(poolFigures(pool(), seen(50), sums(100), 0)).toMatchObject({
      phase: 'Ready',
      maximumVolumeBytes: 95 * gibibyte,
      reserveBytes: 5 * gibibyte,
    });
    expect(poolFigures(pool(), seen(5), sums(100), 0)).toMatchObject({ maximumVolumeBytes: 0 });
  });

  it('keeps its last figures when it is not there', () => {
    const gone = seen(0, {
      present: false,
      capacityBytes: 0,
      causes: [makeCause('PoolMissing', { pool: 'main', place: '/p' })],
    });
    const figures = poolFigures(pool(), gone, sums(1), 0);
    expect(figures).toMatchObject({ phase: 'Missing', maximumVolumeBytes: 0, causes: [{ code: 'PoolMissing' }] });
    expect(figures.capacityBytes).toBeUndefined();
  });

  it('is failed when its volumes cannot be served, draining when that is asked for', () => {
    const readOnly = seen(50, { causes: [makeCause('PoolReadOnly', { pool: 'main' })] });
    expect(poolFigures(pool(), readOnly, sums(1), 0).phase).toBe('Failed');
    expect(poolFigures(pool({ draining: true }), seen(50), sums(1), 0)).toMatchObject({
      phase: 'Draining',
      causes: [{ code: 'PoolDraining' }],
    });
  });
});
