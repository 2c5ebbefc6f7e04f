import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { VolumeRef } from '../contract.ts';
import { bytesOf, type ContractKit, digestOf, expectError, scribbleOn } from './kit.ts';

const variant = { mode: 'block', provisioning: 'thin' } as const;

export function describeSnapshots(kit: ContractKit): void {
  /** A snapshot's bytes, by way of a clone where the engine has clones. */
  const contentOfSnapshot = async (ref: ReturnType<ContractKit['snapshotOf']>['ref']): Promise<string> => {
    const sizeBytes = (await kit.snapshots().observe(ref)).sizeBytes;
    const clone = await kit.create(variant, { sizeBytes, source: { kind: 'snapshot', snapshot: ref } });
    const content = await kit.contentOf(clone.volume);
    await kit.engine().volumes.delete(clone.volume);
    return content;
  };

  describe('snapshots', () => {
    it('hold the bytes of the instant of the cut, of an attached volume that is written before and after', async () => {
      const { volume } = await kit.create(variant);
      const { device } = await kit.engine().volumes.attach(volume, { readOnly: false });
      scribbleOn(device);
      const { ref, identity } = kit.snapshotOf(volume);
      await kit.snapshots().prepare(ref);
      scribbleOn(device);
      const instant = digestOf(device);
      await kit.snapshots().cut(ref);
      scribbleOn(device);
      expect((await kit.snapshots().observe(ref)).present).toBe(false);
      await kit.snapshots().commit(ref, identity);
      expect(await kit.snapshots().observe(ref)).toMatchObject({ present: true, identity, causes: [] });
      expect((await kit.engine().volumes.observe(volume)).snapshotIds).toEqual([ref.snapshotId]);
      expect(digestOf(device)).not.toBe(instant);
      await kit.engine().volumes.detach(volume);
      expect(await contentOfSnapshot(ref)).toBe(instant);
      await kit.engine().volumes.delete(volume);
    });

    it('once committed do not change, whatever is repeated', async () => {
      const { volume } = await kit.create(variant);
      await kit.scribble(volume);
      const { ref, identity } = kit.snapshotOf(volume);
      // Preparing is optional, cutting twice takes the later instant.
      await kit.snapshots().cut(ref);
      await kit.scribble(volume);
      const instant = await kit.contentOf(volume);
      await kit.snapshots().cut(ref);
      await kit.snapshots().commit(ref, identity);
      await kit.scribble(volume);
      await kit.snapshots().prepare(ref);
      await kit.snapshots().cut(ref);
      await kit.snapshots().commit(ref, identity);
      await kit.snapshots().abandon(ref);
      expect(await contentOfSnapshot(ref)).toBe(instant);
      expect(await kit.engine().pools.sweep(kit.pool, { idle: true })).toEqual([]);
      await kit.snapshots().delete(ref);
      await kit.snapshots().delete(ref);
      expect((await kit.snapshots().observe(ref)).present).toBe(false);
      expect((await kit.engine().volumes.observe(volume)).snapshotIds).toEqual([]);
      await kit.engine().volumes.delete(volume);
    });

    it('that are abandoned leave nothing; those that were never cut cannot be committed', async () => {
      const { volume } = await kit.create(variant);
      const { ref, identity } = kit.snapshotOf(volume);
      await expectError(kit.snapshots().commit(ref, identity), 'FailedPrecondition');
      await kit.snapshots().prepare(ref);
      await kit.snapshots().cut(ref);
      await kit.snapshots().abandon(ref);
      await kit.snapshots().abandon(ref);
      expect((await kit.snapshots().observe(ref)).present).toBe(false);
      expect(await kit.engine().pools.sweep(kit.pool, { idle: true })).toEqual([]);
      await kit.engine().volumes.delete(volume);
      await expectError(kit.snapshots().prepare(ref), 'NotFound');
      await expectError(kit.snapshots().cut(ref), 'NotFound');
    });

    it('of two volumes are one group: what was written to the first before the second is never missing alone', async () => {
      const pair = [await kit.create(variant), await kit.create(variant)] as const;
      const members = pair.map(({ volume }) => kit.snapshotOf(volume));
      for (const { volume } of pair) await kit.scribble(volume);
      const contents = [await kit.contentOf(pair[0].volume), await kit.contentOf(pair[1].volume)];
      for (const { ref } of members) await kit.snapshots().prepare(ref);
      for (const { ref } of members) await kit.snapshots().cut(ref);
      for (const { volume } of pair) await kit.scribble(volume);
      for (const { ref, identity } of members) await kit.snapshots().commit(ref, { ...identity, group: 'nightly' });
      for (const [index, { ref }] of members.entries()) {
        expect(await contentOfSnapshot(ref)).toBe(contents[index]);
        expect((await kit.snapshots().observe(ref)).identity?.group).toBe('nightly');
      }
      for (const { volume } of pair) await kit.engine().volumes.delete(volume);
    });

    it('are listed with their volume and go with it', async () => {
      const { volume } = await kit.create(variant);
      const ref = await kit.takeSnapshot(volume);
      const listed = (await kit.engine().pools.list(kit.pool)).find((entry) => entry.volumeId === volume.volumeId);
      expect(listed?.snapshots).toMatchObject([
        { snapshotId: ref.snapshotId, identity: { snapshotId: ref.snapshotId } },
      ]);
      await kit.engine().volumes.delete(volume);
      expect((await kit.snapshots().observe(ref)).present).toBe(false);
    });

    it('share what did not change', async () => {
      const { volume } = await kit.create(variant);
      await kit.scribble(volume);
      const ref = await kit.takeSnapshot(volume);
      const { exclusiveBytes, sharedBytes } = await kit.snapshots().usage(ref);
      expect(exclusiveBytes).toBe(0);
      expect(sharedBytes).toBeGreaterThan(0);
      await kit.engine().volumes.delete(volume);
    });

    it.runIf(kit.definition.capabilities.restoreInPlace)(
      'are put back in place; the volume keeps its size',
      async () => {
        for (const provisioning of kit.definition.capabilities.snapshotProvisioning) {
          const { volume, identity } = await kit.create({ mode: 'block', provisioning });
          await kit.scribble(volume);
          const before = await firstBytes(kit, volume, identity.sizeBytes);
          const ref = await kit.takeSnapshot(volume);
          await kit.scribble(volume);
          const grown = identity.sizeBytes + Math.max(2 ** 20, kit.step);
          await kit.engine().volumes.expand(volume, grown);
          await kit.engine().volumes.attach(volume, { readOnly: false });
          await expectError(kit.snapshots().restore?.(ref) ?? Promise.resolve(), 'FailedPrecondition', 'InUse');
          await kit.engine().volumes.detach(volume);
          for (let time = 0; time < 2; time++) await kit.snapshots().restore?.(ref);
          expect(await firstBytes(kit, volume, identity.sizeBytes)).toBe(before);
          expect((await kit.engine().volumes.observe(volume)).sizeBytes).toBe(grown);
          expect((await kit.snapshots().observe(ref)).present).toBe(true);
          expect(await kit.engine().pools.sweep(kit.pool, { idle: true })).toEqual([]);
          await kit.engine().volumes.delete(volume);
        }
      },
    );
  });
}

/** The digest of the first bytes, whatever the size has become. */
async function firstBytes(kit: ContractKit, volume: VolumeRef, sizeBytes: number): Promise<string> {
  return kit.onDevice(volume, (device) =>
    createHash('sha256').update(bytesOf(device).subarray(0, sizeBytes)).digest('hex'),
  );
}
