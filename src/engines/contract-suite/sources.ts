import { describe, expect, it } from 'vitest';
import type { Kernel } from '../../host/kernel.ts';
import { newUid } from '../../lib/id.ts';
import { bytesOf, type ContractKit, deviceBytes, digestOf, expectError, scribbleOn } from './kit.ts';

const variant = { mode: 'block', provisioning: 'thin' } as const;

export function describeSources(kit: ContractKit): void {
  const { capabilities } = kit.definition;

  describe.runIf(capabilities.clones)('clones', () => {
    for (const provisioning of capabilities.provisioning) {
      it(`of a snapshot are volumes of their own, of the same size or larger, ${provisioning}`, async () => {
        const { volume, identity } = await kit.create(variant);
        await kit.scribble(volume);
        const ref = await kit.takeSnapshot(volume);
        const original = await kit.onDevice(volume, bytesOf);
        for (const extra of [0, 8 * 2 ** 20]) {
          const sizeBytes = identity.sizeBytes + extra;
          const request = kit.request(
            { ...variant, provisioning },
            { sizeBytes, source: { kind: 'snapshot', snapshot: ref } },
          );
          await kit.engine().volumes.create(request);
          await kit.engine().volumes.create(request);
          const copy = await kit.onDevice(request.volume, bytesOf);
          expect(copy.length).toBe(sizeBytes);
          expect(copy.subarray(0, identity.sizeBytes).equals(original)).toBe(true);
          if (kit.definition.capabilities.unwrittenIsZero)
            expect(copy.subarray(identity.sizeBytes).every((byte) => byte === 0)).toBe(true);
          await kit.scribble(request.volume);
          if (provisioning === 'thick') {
            expect((await kit.engine().volumes.usage(request.volume)).exclusiveBytes).toBeGreaterThanOrEqual(sizeBytes);
          }
          await kit.engine().volumes.delete(request.volume);
        }
        expect((await kit.onDevice(volume, bytesOf)).equals(original)).toBe(true);
        await kit.engine().volumes.delete(volume);
      });
    }

    it('of an attached volume hold an instant of it', async () => {
      const { volume, identity } = await kit.create(variant);
      const { device } = await kit.engine().volumes.attach(volume, { readOnly: false });
      scribbleOn(device);
      const content = digestOf(device);
      const clone = await kit.create(variant, { source: { kind: 'volume', volume } });
      scribbleOn(device);
      expect(await kit.contentOf(clone.volume)).toBe(content);
      await kit.engine().volumes.detach(volume);
      await kit.engine().volumes.delete(volume);
      expect(await kit.contentOf(clone.volume)).toBe(content);
      expect((await kit.engine().volumes.observe(clone.volume)).sizeBytes).toBe(identity.sizeBytes);
      await kit.engine().volumes.delete(clone.volume);
    });

    for (const filesystem of capabilities.filesystems) {
      it(`of a clean ${filesystem} mount beside their source; a larger one is a larger device`, async () => {
        const shape = { mode: 'filesystem', filesystem, provisioning: 'thin' } as const;
        const { volume, identity } = await kit.create(shape);
        const kernel = kit.env.host.kernel('contract');
        const targets = [`${kit.env.scratch}/mount-0`, `${kit.env.scratch}/mount-1`] as const;
        for (const target of targets) await kernel.makeMountPoint(target, 'directory');
        await kit.onDevice(volume, async (device) => {
          await kit.format(volume, filesystem);
          await kernel.mount({ source: device, target: targets[0], filesystem });
          await kernel.writeTextFile(`${targets[0]}/hello`, 'source');
          await kernel.unmount(targets[0]);
        });
        const sizeBytes = identity.sizeBytes + 64 * 2 ** 20;
        const clone = await kit.create(shape, {
          sizeBytes,
          source: { kind: 'snapshot', snapshot: await kit.takeSnapshot(volume) },
        });
        const devices = [];
        for (const each of [volume, clone.volume])
          devices.push((await kit.engine().volumes.attach(each, { readOnly: false })).device);
        expect(deviceBytes(devices[1] ?? '')).toBe(sizeBytes);
        await giveOwnUuid(kernel, devices[0] ?? '', devices[1] ?? '', filesystem);
        for (const [index, target] of targets.entries())
          await kernel.mount({ source: devices[index] ?? '', target, filesystem });
        expect(await kernel.readTextFile(`${targets[1]}/hello`)).toBe('source');
        for (const target of targets) await kernel.unmount(target);
        for (const each of [volume, clone.volume]) {
          await kit.engine().volumes.detach(each);
          await kit.engine().volumes.delete(each);
        }
      });
    }

    it('need a source that is there and not larger', async () => {
      const { volume, identity } = await kit.create(variant);
      const gone = { ...volume, volumeId: 'notthere' };
      const fromGone = kit.request(variant, { source: { kind: 'volume', volume: gone } });
      await expectError(kit.engine().volumes.create(fromGone), 'NotFound', 'SourceNotFound');
      const small = kit.request(variant, { sizeBytes: identity.sizeBytes - 4096, source: { kind: 'volume', volume } });
      await expectError(kit.engine().volumes.create(small), 'OutOfRange');
      for (const request of [fromGone, small])
        expect((await kit.engine().volumes.observe(request.volume)).present).toBe(false);
      await kit.engine().volumes.delete(volume);
    });
  });

  describe.runIf(capabilities.move !== 'no')('moves', () => {
    it('take the data and all snapshots to the other pool, and share there what they shared here', async () => {
      const { volume, identity } = await kit.create(variant);
      await kit.scribble(volume, 200);
      const snapshots: { readonly snapshotId: string; readonly content: string }[] = [];
      const grown = identity.sizeBytes + 8 * 2 ** 20;
      for (const sizeBytes of [identity.sizeBytes, grown, grown]) {
        await kit.engine().volumes.expand(volume, sizeBytes);
        await kit.scribble(volume, 5);
        await kit.onDevice(volume, async (device) => {
          const offset = String(Math.floor(Math.random() * 60) * 2 ** 20);
          await kit.env.host.exec(['blkdiscard', '-f', '-o', offset, '-l', String(2 ** 20), device]);
        });
        if (snapshots.length === 2) break;
        const { snapshotId } = await kit.takeSnapshot(volume);
        snapshots.push({ snapshotId, content: await kit.contentOf(volume) });
      }
      const content = await kit.contentOf(volume);
      const wanted = { ...identity, sizeBytes: grown };
      const target = { pool: kit.otherPool, volumeId: volume.volumeId };
      const request = { volume: target, identity: wanted, parameters: {}, source: { kind: 'move', volume } } as const;
      if (capabilities.move === 'detached' || capabilities.move === 'readOnlyBlock') {
        await kit.engine().volumes.attach(volume, { readOnly: false });
        await expectError(kit.engine().volumes.create(request), 'FailedPrecondition', 'InUse');
        await kit.engine().volumes.detach(volume);
      }
      const before = await kit.engine().volumes.usage(volume);
      await kit.engine().volumes.create(request);
      await kit.engine().volumes.create(request);
      await kit.engine().volumes.delete(volume);
      expect(await kit.contentOf(target)).toBe(content);
      const after = await kit.engine().volumes.usage(target);
      expect(after.exclusiveBytes).toBeLessThanOrEqual(before.exclusiveBytes + 8 * 2 ** 20);
      expect((await kit.engine().volumes.observe(target)).identity).toEqual(wanted);
      for (const { snapshotId, content: atSnapshot } of snapshots) {
        const moved = { ...target, snapshotId };
        const { identity: told, sizeBytes } = await kit.snapshots().observe(moved);
        expect(told?.snapshotId).toBe(snapshotId);
        const clone = await kit.create(variant, {
          pool: kit.otherPool,
          sizeBytes,
          source: { kind: 'snapshot', snapshot: moved },
        });
        expect(await kit.contentOf(clone.volume)).toBe(atSnapshot);
        await kit.engine().volumes.delete(clone.volume);
      }
      await kit.engine().volumes.delete(target);
    });

    it.runIf(capabilities.move === 'readOnlyBlock')('go on below a device that is in use read-only', async () => {
      const { volume, identity } = await kit.create(variant);
      await kit.scribble(volume, 50);
      const content = await kit.contentOf(volume);
      const target = { pool: kit.otherPool, volumeId: volume.volumeId };
      const request = { volume: target, identity, parameters: {}, source: { kind: 'move', volume } } as const;
      const { device } = await kit.engine().volumes.attach(volume, { readOnly: true });
      await kit.engine().volumes.create(request);
      await kit.engine().volumes.takeOver?.(volume, target);
      await kit.engine().volumes.takeOver?.(volume, target);
      const after = await kit.engine().volumes.attach(target, { readOnly: true });
      expect(after).toMatchObject({ device, readOnly: true, causes: [] });
      expect((await kit.engine().volumes.observe(volume)).attached).toBeUndefined();
      await kit.engine().volumes.delete(volume);
      await kit.engine().volumes.detach(target);
      expect(await kit.contentOf(target)).toBe(content);

      const back = { pool: volume.pool, volumeId: volume.volumeId };
      await kit.engine().volumes.create({ ...request, volume: back, source: { kind: 'move', volume: target } });
      await kit.engine().volumes.attach(target, { readOnly: false });
      await expectError(kit.engine().volumes.takeOver?.(target, back) ?? Promise.resolve(), 'FailedPrecondition');
      await kit.engine().volumes.detach(target);
      await kit.engine().volumes.delete(target);
      await kit.engine().volumes.delete(back);
    });
  });
}

/** An engine may leave this to the agent, which does it before it mounts. */
async function giveOwnUuid(kernel: Kernel, source: string, clone: string, filesystem: 'xfs' | 'ext4'): Promise<void> {
  const [first, second] = [await kernel.probeFilesystem(source), await kernel.probeFilesystem(clone)];
  if (first?.uuid === second?.uuid) await kernel.setFilesystemUuid(clone, filesystem, newUid());
}
