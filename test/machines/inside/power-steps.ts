import assert from 'node:assert/strict';
import type { PoolRef, VolumeIdentity } from '../../../src/engines/contract.ts';
import { lvmEngine } from '../../../src/engines/lvm/engine.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { KeyedLock } from '../../../src/lib/keyed-lock.ts';
import { silentLogger } from '../../../src/lib/log.ts';
import { makeSteps } from '../../../src/lib/steps.ts';
import { machineHost } from './parts/host.ts';
import { type SceneStage, scenes } from './parts/power-scenes.ts';

/*
 * A program of a machine, bundled: `power-steps WORKER DISKS SCENE:POINT SCENE:POINT`, either of them "-" for none. Of the first scene it does again what a
 * power cut has interrupted, looks whether all is well, and takes it away; of the second it does everything up to a point
 * between two steps, says CUT, and waits for the end; or says DONE and how many points there are. Several scenes are joined by commas.
 */
const [, , worker = '', disks = '', before = '-', next = '-'] = process.argv;
const [disk = '', second = ''] = disks.split(',');
const host = machineHost(worker);
const blank: PoolRef = {
  name: 'steps',
  source: { kind: 'disks', disks: [disk] },
  reservePercent: 5,
  acceptNoJournal: true,
  trial: false,
};

/** @param reached is told each point between steps */
function stageOf(pool: PoolRef, scene: string, reached: () => void = () => {}): SceneStage {
  const id = scene.replace(/[^a-z0-9]/g, '');
  const engine = lvmEngine.create({
    host,
    clock: systemClock,
    log: silentLogger,
    steps: makeSteps({}, reached),
    locks: new KeyedLock(),
    nodeName: 'steps',
    runtimeDir: '/run/steps',
  });
  const identity = (part: Partial<VolumeIdentity> = {}): VolumeIdentity => ({
    name: `v-${id}`,
    uid: '3b1f6b0e-7d43-4c67-9d31-0d6f2a1c9a56',
    volumeId: id,
    sizeBytes: 16 * 2 ** 20,
    className: 'c',
    mode: 'block',
    provisioning: 'thin',
    createdAt: '2026-01-01T00:00:00.000Z',
    generation: 1,
    ...part,
  });
  const volume = { pool, volumeId: id };
  const place = async () => {
    const { dataPath = '' } = (await engine.pools.list(pool)).find(({ volumeId }) => volumeId === id) ?? {};
    await host.exec(['pvmove', '--yes', '--interval', '1', '--name', dataPath.slice('/dev/'.length), disk, second], {
      deadlineMs: 120_000,
    });
  };
  const wide: PoolRef = { ...pool, source: { kind: 'disks', disks: [disk, second] } };
  return {
    engine,
    pool,
    wide,
    volume,
    identity,
    snapshot: { ...volume, snapshotId: 's' },
    clone: { pool, volumeId: `${id}c` },
    place,
  };
}

const sceneOf = (word: string) => {
  const [name = '', point = '0'] = word.split(':');
  const scene = scenes[name];
  assert(scene, `there is no scene ${name}`);
  return { name, scene, point: Number(point) };
};

const { poolId } = await stageOf(blank, 'open').engine.pools.open(blank);
const pool: PoolRef = { ...blank, poolId };

/** Does the rest of it, whatever is there, and leaves nothing. */
async function converge(name: string): Promise<void> {
  const { scene } = sceneOf(name);
  const stage = stageOf(pool, name);
  await scene.run(stage);
  await scene.check(stage);
  await stage.engine.volumes.detach(stage.volume);
  await scene.end?.(stage);
  await stage.engine.volumes.delete(stage.volume);
  await stage.engine.pools.sweep(pool, { idle: true });
  assert.deepEqual(await stage.engine.pools.list(pool), []);
  const { stdout } = await host.exec(['lvs', '--all', '--noheadings', '--options', 'lv_name']);
  const left = stdout.split('\n').map((line) => line.trim().replace(/[[\]]/g, ''));
  assert.deepEqual(
    left.filter((line) => line !== '' && !/^(azk_pool(_t(data|meta))?|lvol\d+_pmspare)$/.test(line)),
    [],
  );
}

if (before !== '-') {
  // As an agent does when it starts: what has no meaning goes before anything else.
  await stageOf(pool, before).engine.pools.sweep(pool, { idle: true });
  await converge(sceneOf(before).name);
}
for (const word of next === '-' ? [] : next.split(',')) {
  const { name, scene, point } = sceneOf(word);
  await scene.prepare?.(stageOf(pool, name));
  let points = 0;
  const stage = stageOf(pool, name, () => {
    if (points++ !== point) return;
    process.stdout.write('CUT\n');
    // Nothing goes on until the power is cut: not even what waits already.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
  await scene.run(stage);
  await scene.check(stage);
  process.stdout.write(`DONE ${name} ${points}\n`);
  await converge(name);
}
await host.close();
