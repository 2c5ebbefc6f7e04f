import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CallError } from '../lab/csi/client.ts';
import { fuzzedRequest, type Known, properCodes, withKnown } from '../lab/csi/fuzz.ts';
import { type Instance, mountCapability, startInstance } from '../lab/csi/instance.ts';
import { openFiles, processTree, statusField } from '../lab/daemon.ts';
import { Cleanup, eventually, sleep } from '../lab/workbench.ts';
import { topologyKey } from '../src/csi/index.ts';

const long = process.env.AZEKURA_LONG === '1';
const rounds = long ? 20 : 5;
const requests = long ? 2_000 : 400;
const large = 12;
const seed = Number(process.env.AZEKURA_SEED ?? 4711);
/** Far below what one round would leave if each large request, or each request, left what it carries. */
const growthMib = 32;

const cleanup = new Cleanup();
let instance: Instance;
let known: Known;

beforeAll(async () => {
  instance = await startInstance(cleanup, { disk: '64G' });
  const { controller } = instance.client;
  const { volume } = await controller.createVolume({ name: 'known', volumeCapabilities: [mountCapability()] });
  const volumeId = volume?.volumeId ?? '';
  const { snapshot } = await controller.createSnapshot({ name: 'known', sourceVolumeId: volumeId });
  known = {
    '@volume': volumeId,
    '@snapshot': snapshot?.snapshotId ?? '',
    '@node': instance.nodeId,
    '@path': `${instance.scratch}/target/pod`,
    '@topology': topologyKey,
  };
}, 300_000);
afterAll(() => cleanup.run());

const code = (promise: Promise<unknown>) =>
  promise.then(
    () => 'OK',
    (error: unknown) => {
      if (error instanceof CallError) return error.codeName;
      throw error;
    },
  );

/** The same requests each time, four at once. */
async function fuzz(): Promise<Map<string, number>> {
  const { controller, group, node, metadata } = instance.client;
  const calls = Object.entries({ ...controller, ...group, ...node, ...metadata }) as [
    string,
    (init: object, options: object) => Promise<unknown>,
  ][];
  const given = fc.sample(fc.tuple(fc.nat(calls.length - 1), fuzzedRequest), { numRuns: requests, seed });
  const answered = new Map<string, number>();
  const worker = async () => {
    for (let next = given.pop(); next; next = given.pop()) {
      const [name, call] = calls[next[0]] ?? [];
      const result = call ? await code(call(withKnown(next[1], known), { deadlineMs: 2_000 })) : '';
      if (!properCodes.includes(result)) throw new Error(`${name} answered ${result}`);
      answered.set(result, (answered.get(result) ?? 0) + 1);
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  return answered;
}

/** Maps of 4 MiB, which the server refuses in one way or the other. */
async function floodMaps(): Promise<void> {
  for (let index = 0; index < large; index++) {
    const entries = Array.from({ length: 4_000 }, (_, key) => [`key-${index}-${key}`, 'x'.repeat(1_000)]);
    const map = Object.fromEntries(entries) as Record<string, string>;
    const request = { name: `large-${index}`, volumeCapabilities: [mountCapability()], parameters: map, secrets: map };
    const field = index % 2 ? { ...request, secrets: {} } : { ...request, parameters: {} };
    expect(properCodes).toContain(await code(instance.client.controller.createVolume(field, { deadlineMs: 10_000 })));
  }
}

/** Takes away what fuzzed requests have made, so that every round begins alike. */
async function tidy(): Promise<void> {
  const { controller, group, node } = instance.client;
  const path = known['@path'];
  await eventually(async () => {
    for (const { snapshot } of (await controller.listSnapshots({})).entries) {
      const { snapshotId = '', groupSnapshotId = '' } = snapshot ?? {};
      if (groupSnapshotId) await group.deleteVolumeGroupSnapshot({ groupSnapshotId });
      else if (snapshotId !== known['@snapshot']) await controller.deleteSnapshot({ snapshotId });
    }
    for (const { volume } of (await controller.listVolumes({})).entries) {
      const volumeId = volume?.volumeId ?? '';
      await node.nodeUnpublishVolume({ volumeId, targetPath: path });
      await node.nodeUnstageVolume({ volumeId, stagingTargetPath: path });
      await controller.controllerUnpublishVolume({ volumeId });
      if (volumeId !== known['@volume']) await controller.deleteVolume({ volumeId });
    }
    expect((await controller.listVolumes({})).entries).toHaveLength(1);
  }, 60_000);
  for (const { metadata } of await instance.daemon.client.list('RecycledVolume'))
    await instance.daemon.post('RecycledVolume', metadata.name, 'purge', {}).catch(() => undefined);
}

interface Held {
  readonly rssMib: number;
  readonly files: number;
  readonly processes: number;
}

/** What the daemon holds once it has come to rest: the least of some looks. */
async function held(): Promise<Held> {
  const { pid } = instance.daemon;
  await instance.daemon.settled();
  const looks: Held[] = [];
  for (let look = 0; look < 8; look++) {
    await sleep(1_000);
    looks.push({
      rssMib: (statusField(pid, 'VmRSS') ?? Number.NaN) / 1_024,
      files: openFiles(pid).length,
      processes: processTree(pid).length,
    });
  }
  const least = (field: keyof Held) => Math.min(...looks.map((look) => look[field]));
  return { rssMib: least('rssMib'), files: least('files'), processes: least('processes') };
}

describe('memory under fuzzed requests', () => {
  it(
    `does not grow from round 2 to round ${rounds} of ${requests} requests and ${large} maps of 4 MiB`,
    async () => {
      const { pid } = instance.daemon;
      const seen: Held[] = [];
      for (let round = 1; round <= rounds; round++) {
        const answered = await fuzz();
        for (const usual of ['OK', 'INVALID_ARGUMENT', 'NOT_FOUND'])
          expect(answered.get(usual) ?? 0).toBeGreaterThan(3);
        await floodMaps();
        await tidy();
        seen.push(await held());
      }
      console.log(
        seen
          .map(({ rssMib, files, processes }) => `${rssMib.toFixed(0)} MiB, ${files} files, ${processes} processes`)
          .join('; '),
      );
      const [, second] = seen;
      const last = seen.at(-1);
      if (!second || !last) throw new Error('too few rounds');
      expect(last.rssMib).toBeLessThan(second.rssMib + growthMib);
      expect(last.files).toBeLessThanOrEqual(second.files + 2);
      expect(last.processes).toBeLessThanOrEqual(second.processes);
      // The same process all the time.
      expect(instance.daemon.ended).toBe(false);
      expect(instance.daemon.pid).toBe(pid);
    },
    long ? 3_600_000 : 600_000,
  );
});
