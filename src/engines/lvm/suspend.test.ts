import { describe, expect, it } from 'vitest';
import type { BlockNode } from '../../host/host.ts';
import { refuseSuspended } from './suspend.ts';

const node = (suspended: boolean): BlockNode => ({
  name: 'dm-4',
  path: '/dev/mapper/vg-azk_v_1',
  kind: 'mapped',
  rotational: false,
  holders: [],
  deviceNumber: '254:4',
  sizeBytes: 2 ** 26,
  readOnly: false,
  slaves: [],
  mapped: { name: 'vg-azk_v_1', uuid: 'LVM-1', suspended },
});

describe('a device that somebody has suspended', () => {
  it('is never cut: LVM would break the thin pool', () => {
    expect(() => refuseSuspended(node(true), 'volume db')).toThrow('the device of volume db is suspended');
    for (const fine of [node(false), undefined]) expect(() => refuseSuspended(fine, 'volume db')).not.toThrow();
  });
});
