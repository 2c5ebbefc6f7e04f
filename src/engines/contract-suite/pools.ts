import { describe, expect, it } from 'vitest';
import { type ContractKit, expectError } from './kit.ts';

export function describePools(kit: ContractKit): void {
  describe('pools', () => {
    it('opening an open pool answers the same id and path', async () => {
      const first = await kit.engine().pools.open(kit.pool);
      const second = await kit.engine().pools.open(kit.env.pool);
      expect(second).toEqual(first);
      expect(first.poolId).toBe(kit.pool.poolId);
    });

    it('inspecting it says that it is there and changes nothing', async () => {
      const before = await kit.engine().pools.list(kit.pool);
      const inspection = await kit.engine().pools.inspect(kit.pool);
      expect(inspection.existing).toBe(true);
      expect(inspection.plan.length).toBeGreaterThan(0);
      expect(await kit.engine().pools.list(kit.pool)).toEqual(before);
    });

    it('observing it tells its space', async () => {
      const observed = await kit.engine().pools.observe(kit.pool);
      expect(observed.present).toBe(true);
      expect(observed.capacityBytes).toBeGreaterThan(0);
      expect(observed.freeBytes).toBeGreaterThan(0);
      expect(observed.freeBytes).toBeLessThanOrEqual(observed.capacityBytes);
      expect(observed.thickFreeBytes ?? 0).toBeLessThanOrEqual(observed.freeBytes);
    });

    it('a pool with another id is foreign: observed as such, opened never, written to never', async () => {
      const stranger = { ...kit.pool, poolId: '00000000-0000-4000-8000-000000000000' };
      const observed = await kit.engine().pools.observe(stranger);
      expect(observed.present).toBe(false);
      expect(observed.causes.map((cause) => cause.code)).toContain('PoolForeign');
      await expectError(kit.engine().pools.open(stranger), 'FailedPrecondition', 'PoolForeign');
      const request = kit.request({ mode: 'block', provisioning: 'thin' }, { pool: stranger });
      await expectError(kit.engine().volumes.create(request), 'FailedPrecondition', 'PoolForeign');
    });

    it('closes and opens again with all that it holds, and does not close under an attached volume', async () => {
      const request = await kit.create({ mode: 'block', provisioning: 'thin' });
      const engine = kit.engine();
      await engine.volumes.attach(request.volume, { readOnly: false });
      await expectError(engine.pools.close(kit.pool), 'FailedPrecondition', 'InUse');
      await engine.volumes.detach(request.volume);
      await engine.pools.close(kit.pool);
      await engine.pools.close(kit.pool);
      expect((await engine.pools.open(kit.pool)).poolId).toBe(kit.pool.poolId);
      expect((await engine.volumes.observe(request.volume)).identity).toEqual(request.identity);
      await engine.volumes.delete(request.volume);
    });

    it('a pool that holds volumes is not destroyed', async () => {
      const request = await kit.create({ mode: 'block', provisioning: 'thin' });
      await expectError(kit.engine().pools.destroy(kit.pool), 'FailedPrecondition');
      expect((await kit.engine().volumes.observe(request.volume)).present).toBe(true);
      await kit.engine().volumes.delete(request.volume);
    });

    it('sweeping an idle pool removes nothing that counts', async () => {
      const request = await kit.create({ mode: 'block', provisioning: 'thin' });
      await kit.engine().pools.sweep(kit.pool, { idle: true });
      expect(await kit.engine().pools.sweep(kit.pool, { idle: true })).toEqual([]);
      expect((await kit.engine().volumes.observe(request.volume)).present).toBe(true);
      await kit.engine().volumes.delete(request.volume);
    });
  });
}
