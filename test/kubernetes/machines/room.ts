import { expect, it } from 'vitest';
import { Space } from '../kit.ts';
import { claimOf, ofClaim } from '../probe.ts';
import { type Claim, type List, type MachineStage, machines, mebibyte, minute, podOf, sized, until } from './stage.ts';

/** Of one pod of the burst. A machine's fast pool holds five of them. */
const burstClaim = '512Mi';
const podCount = 50;

const sameAs = (some: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>) =>
  JSON.stringify([...some]) === JSON.stringify([...others]);

/** Room by class and machine: told, and never promised twice. */
export function describeRoom(stage: MachineStage): void {
  it('tells the room of each class on each machine', async () => {
    await until('four objects of capacity', minute, async () => (await stage.rooms(['fast', 'large'])).size === 4);
    const all = await stage.rooms(['fast', 'large']);
    for (const name of machines) {
      const [fast, large] = [all.get(`fast ${name}`) ?? 0, all.get(`large ${name}`) ?? 0];
      // The disk of 3 GiB, and the group of 2 GiB with the site's own 64 MiB in it.
      expect(fast).toBeGreaterThan(2_500 * mebibyte);
      expect(fast).toBeLessThan(3_072 * mebibyte);
      expect(large).toBeGreaterThan(1_500 * mebibyte);
      expect(large).toBeLessThanOrEqual(1_984 * mebibyte);
    }
  });

  it(
    'spreads a StatefulSet over the machines that have room of its class, beside volumes that are not ours',
    async () => {
      const space = await Space.create(stage.lab, 'spread');
      await space.apply(statefulSet('large', '1200Mi', 3));
      const placed = async () => (await stage.pods(space)).filter(({ status }) => status.phase === 'Running');
      await until('two pods', 4 * minute, async () => (await placed()).length === 2).catch(stage.explained(space));
      expect((await placed()).map(({ spec }) => spec.nodeName).sort()).toEqual([...machines]);
      // No machine has room for the third, and its claim binds it to none.
      await until('the third waits', minute, async () =>
        (await stage.events(space)).some(
          ({ reason, message }) => reason === 'FailedScheduling' && /storage/.test(message),
        ),
      );
      const claims = await space.get<List<Claim>>('pvc');
      expect(claims.items.filter(({ status }) => status.phase === 'Bound')).toHaveLength(2);
      for (const name of machines) {
        expect(await stage.volumesIn(name, 'site')).toEqual([expect.stringMatching(/^azk_v_/), 'own']);
        expect(await stage.sumOfOwn(name)).toBe(stage.ownSum.get(name));
      }
      await stage.gone(space);
      for (const name of machines) expect(await stage.volumesIn(name, 'site')).toEqual(['own']);
    },
    8 * minute,
  );

  it(
    `never promises more than there is to ${podCount} pods at once`,
    async () => {
      const space = await Space.create(stage.lab, 'burst');
      const before = await stage.rooms(['fast']);
      const fits = [...before.values()].map((bytes) => Math.floor(bytes / (512 * mebibyte)));
      const names = Array.from({ length: podCount }, (_, i) => `pod-${i}`);
      const objects = names.flatMap((name) => [claimOf(name, 'fast', sized(burstClaim)), podOf(name, ofClaim(name))]);
      await stage.lab.kubectl(['-n', space.name, 'create', '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
        timeoutMs: 3 * minute,
      });
      const expected = fits.reduce((sum, fit) => sum + fit, 0);
      await until('all that fit', 6 * minute, async () => (await stage.readyPods(space)).length >= expected).catch(
        stage.explained(space),
      );
      for (const [i, name] of machines.entries()) {
        const here = (await stage.pods(space)).filter(({ spec }) => spec.nodeName === name);
        expect(here).toHaveLength(fits[i] ?? 0);
      }
      // A claim that is bound though its pod has no node could go nowhere.
      const bound = (await space.get<List<Claim>>('pvc')).items.filter(({ status }) => status.phase === 'Bound');
      const scheduled = (await stage.pods(space)).filter(({ spec }) => spec.nodeName !== undefined);
      expect(bound.map(({ metadata }) => metadata.name).sort()).toEqual(
        scheduled.map(({ metadata }) => metadata.name).sort(),
      );
      await stage.gone(space);
      await until('the room back', 2 * minute, async () => sameAs(before, await stage.rooms(['fast'])));
    },
    12 * minute,
  );
}

function statefulSet(storageClassName: string, storage: string, replicas: number): object {
  const { spec } = podOf('x', { emptyDir: {} }) as { spec: { containers: object[] } };
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 'set' },
    spec: {
      serviceName: 'set',
      replicas,
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: { app: 'set' } },
      template: {
        metadata: { labels: { app: 'set' } },
        spec: { terminationGracePeriodSeconds: 0, containers: spec.containers },
      },
      volumeClaimTemplates: [
        {
          metadata: { name: 'v' },
          spec: { accessModes: ['ReadWriteOnce'], storageClassName, resources: { requests: { storage } } },
        },
      ],
    },
  };
}
