import { describe, expect, it } from 'vitest';
import type { VolumeIdentity } from '../contract.ts';
import { type ContractKit, deviceBytes, digestOf, expectError, scribbleOn } from './kit.ts';

export function describeVolumes(kit: ContractKit): void {
  for (const variant of kit.variants()) {
    const title = [variant.provisioning, variant.filesystem ?? variant.mode].join(' ');
    describe(`volumes, ${title}`, () => {
      it('are made, found, attached, written, detached and deleted, each of it twice', async () => {
        const request = kit.request(variant);
        const { volume, identity } = request;
        expect((await kit.engine().volumes.observe(volume)).present).toBe(false);
        await kit.engine().volumes.create(request);
        await kit.engine().volumes.create(request);
        expect(await kit.engine().volumes.observe(volume)).toEqual({
          present: true,
          recycled: false,
          sizeBytes: identity.sizeBytes,
          identity,
          snapshotIds: [],
          causes: [],
        });

        const first = await kit.engine().volumes.attach(volume, { readOnly: false });
        const again = await kit.engine().volumes.attach(volume, { readOnly: false });
        expect(again).toEqual(first);
        expect(first.causes).toEqual([]);
        expect((await kit.engine().volumes.observe(volume)).attached).toEqual(first);
        expect(deviceBytes(first.device)).toBe(identity.sizeBytes);
        scribbleOn(first.device);
        const written = digestOf(first.device);

        await expectError(kit.engine().volumes.delete(volume), 'FailedPrecondition', 'InUse');
        await kit.engine().volumes.detach(volume);
        await kit.engine().volumes.detach(volume);
        expect((await kit.engine().volumes.observe(volume)).attached).toBeUndefined();
        expect(await kit.contentOf(volume)).toBe(written);

        await kit.engine().volumes.delete(volume);
        await kit.engine().volumes.delete(volume);
        expect((await kit.engine().volumes.observe(volume)).present).toBe(false);
        expect(await kit.devices()).toEqual([]);
      });

      it('grow, attached and not, and never shrink', async () => {
        const { volume, identity } = await kit.create(variant);
        const once = identity.sizeBytes + 16 * 2 ** 20;
        const twice = once + kit.step;
        await kit.engine().volumes.expand(volume, once);
        await kit.engine().volumes.expand(volume, once);
        const { device } = await kit.engine().volumes.attach(volume, { readOnly: false });
        expect(deviceBytes(device)).toBe(once);
        if (kit.definition.capabilities.onlineExpansion) {
          await kit.engine().volumes.expand(volume, twice);
          expect(deviceBytes(device)).toBe(twice);
          expect((await kit.engine().volumes.observe(volume)).sizeBytes).toBe(twice);
        }
        await expectError(kit.engine().volumes.expand(volume, identity.sizeBytes), 'OutOfRange');
        await kit.engine().volumes.detach(volume);
        await kit.engine().volumes.delete(volume);
      });

      if (variant.filesystem) {
        const { filesystem } = variant;
        it('hold a file system of their own; two mount at once', async () => {
          const pair = [await kit.create(variant), await kit.create(variant)];
          const kernel = kit.env.host.kernel('contract');
          const uuids: string[] = [];
          for (const [index, { volume }] of pair.entries()) {
            const { device } = await kit.engine().volumes.attach(volume, { readOnly: false });
            await kit.format(volume, filesystem);
            const found = await kernel.probeFilesystem(device);
            expect(found).toMatchObject({ filesystem, clean: true, sizeBytes: kit.sizeOf(variant) });
            uuids.push(found?.uuid ?? '');
            const target = `${kit.env.scratch}/mount-${index}`;
            await kernel.makeMountPoint(target, 'directory');
            await kernel.mount({ source: device, target, filesystem });
            await kernel.writeTextFile(`${target}/hello`, `volume ${index}`);
            await expectError(kit.engine().volumes.detach(volume), 'FailedPrecondition', 'InUse');
          }
          expect(new Set(uuids).size).toBe(2);
          for (const [index, { volume }] of pair.entries()) {
            const target = `${kit.env.scratch}/mount-${index}`;
            expect(await kernel.readTextFile(`${target}/hello`)).toBe(`volume ${index}`);
            await kernel.unmount(target);
            await kit.engine().volumes.detach(volume);
            await kit.engine().volumes.delete(volume);
          }
        });
      }
    });
  }

  describe('volumes', () => {
    const variant = { mode: 'block', provisioning: 'thin' } as const;

    it('attach read-only, and refuse the other mode meanwhile', async () => {
      const { volume } = await kit.create(variant);
      // What never held anything may need to be written to before it can be read.
      await kit.scribble(volume);
      const attached = await kit.engine().volumes.attach(volume, { readOnly: true });
      expect(attached.readOnly).toBe(true);
      expect(() => scribbleOn(attached.device)).toThrow();
      await expectError(kit.engine().volumes.attach(volume, { readOnly: false }), 'FailedPrecondition');
      await kit.engine().volumes.detach(volume);
      await kit.engine().volumes.delete(volume);
    });

    it('that are not there cannot be attached, grown or described', async () => {
      const { volume, identity } = kit.request(variant);
      await expectError(kit.engine().volumes.attach(volume, { readOnly: false }), 'NotFound');
      await expectError(kit.engine().volumes.expand(volume, identity.sizeBytes), 'NotFound');
      await expectError(kit.engine().volumes.setIdentity(volume, identity), 'NotFound');
      await kit.engine().volumes.detach(volume);
      await kit.engine().volumes.delete(volume);
    });

    it('refuse ids that lead out of the pool, and sizes that cannot be', async () => {
      const request = kit.request(variant);
      for (const volumeId of ['..', '../x', 'a/b', '', 'A', 'x'.repeat(200)]) {
        await expectError(kit.engine().volumes.observe({ ...request.volume, volumeId }), 'InvalidArgument');
      }
      for (const sizeBytes of [0, 4097]) {
        await expectError(
          kit.engine().volumes.create({ ...request, identity: { ...request.identity, sizeBytes } }),
          'OutOfRange',
        );
      }
      expect((await kit.engine().volumes.observe(request.volume)).present).toBe(false);
    });

    it('are listed with their identities, which can be written anew', async () => {
      const { volume, identity } = await kit.create(variant);
      const renamed: VolumeIdentity = {
        ...identity,
        name: 'renamed',
        generation: 2,
        claim: { namespace: 'other', name: 'ü/"' },
      };
      await kit.engine().volumes.setIdentity(volume, renamed);
      await kit.engine().volumes.setIdentity(volume, renamed);
      const listed = (await kit.engine().pools.list(kit.pool)).find((entry) => entry.volumeId === volume.volumeId);
      expect(listed).toMatchObject({
        identity: renamed,
        recycled: false,
        sizeBytes: identity.sizeBytes,
        snapshots: [],
      });
      await kit.engine().volumes.delete(volume);
      expect((await kit.engine().pools.list(kit.pool)).some((entry) => entry.volumeId === volume.volumeId)).toBe(false);
    });

    it('tell what they use: more after writing, all of it when thick', async () => {
      const thin = await kit.create(variant);
      const before = await kit.engine().volumes.usage(thin.volume);
      await kit.scribble(thin.volume);
      const after = await kit.engine().volumes.usage(thin.volume);
      expect(after.exclusiveBytes).toBeGreaterThan(before.exclusiveBytes);
      await kit.engine().volumes.delete(thin.volume);
      if (!kit.definition.capabilities.provisioning.includes('thick')) return;
      const thick = await kit.create({ mode: 'block', provisioning: 'thick' });
      expect((await kit.engine().volumes.usage(thick.volume)).exclusiveBytes).toBeGreaterThanOrEqual(
        thick.identity.sizeBytes,
      );
      await kit.engine().volumes.delete(thick.volume);
    });

    it.runIf(kit.definition.capabilities.recycle)('rest in the recycle bin and come back as they were', async () => {
      const { volume, identity } = await kit.create(variant);
      const engine = kit.engine();
      const until = { deletedAt: '2026-01-01T00:00:00.000Z', expiresAt: '2026-01-02T00:00:00.000Z' };
      await engine.volumes.attach(volume, { readOnly: false });
      await expectError(engine.volumes.recycle?.(volume, until) ?? Promise.resolve(), 'FailedPrecondition', 'InUse');
      await engine.volumes.detach(volume);
      await kit.scribble(volume);
      const content = await kit.contentOf(volume);
      for (let time = 0; time < 2; time++) await engine.volumes.recycle?.(volume, until);
      expect(await engine.volumes.observe(volume)).toMatchObject({
        present: false,
        recycled: true,
        identity: { ...identity, recycled: until },
      });
      expect((await engine.pools.list(kit.pool)).find((entry) => entry.volumeId === volume.volumeId)?.recycled).toBe(
        true,
      );
      await expectError(engine.volumes.create({ volume, identity, parameters: {} }), 'FailedPrecondition');
      for (let time = 0; time < 2; time++) await engine.volumes.restoreRecycled?.(volume, identity);
      expect(await engine.volumes.observe(volume)).toMatchObject({ present: true, recycled: false, identity });
      expect((await engine.volumes.observe(volume)).identity?.recycled).toBeUndefined();
      expect(await kit.contentOf(volume)).toBe(content);
      await engine.volumes.recycle?.(volume, until);
      await engine.volumes.delete(volume);
      expect(await engine.volumes.observe(volume)).toMatchObject({ present: false, recycled: false });
    });
  });
}
