/** What cannot be: each bad request has a clear Event on the claim, and `kubectl azekura why` tells the same. */
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { binary } from '../../lab/kubernetes/binaries.ts';
import type { Cluster } from '../../lab/kubernetes/cluster.ts';
import { type RunResult, tryRun, until } from '../../lab/kubernetes/exec.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { projectRoot } from '../../lab/kubernetes/paths.ts';
import { Space, sharedLab } from './kit.ts';
import { claimOf, ofClaim, podOf, remove } from './probe.ts';
import { classWithoutBin } from './writers.ts';

const missing = labMissing({ nodes: 3 });

/** Claims that cannot be served: what their class adds, what they add, and what must be said of them. */
const wrong: readonly (readonly [name: string, parameters: Record<string, string>, claim: object, said: RegExp])[] = [
  ['unknown-parameter', { colour: 'red' }, {}, /colour/],
  ['wrong-value', { provisioning: 'thinnish' }, {}, /provisioning.*thin, thick/],
  ['contradiction', { filesystem: 'xfs', 'csi.storage.k8s.io/fstype': 'ext4' }, {}, /xfs|ext4/],
  ['no-such-class', { class: 'gold' }, {}, /gold/],
  ['no-such-pool', { pool: 'nowhere' }, {}, /nowhere/],
  ['too-large', {}, { resources: { requests: { storage: '900Ti' } } }, /room|size/],
  [
    'no-secret',
    {
      'csi.storage.k8s.io/provisioner-secret-name': 'absent',
      'csi.storage.k8s.io/provisioner-secret-namespace': 'wrong',
    },
    {},
    /secret/i,
  ],
];

/** The lab's pools lie on the machine's own disk: when that has no journal, this is said, and nothing else. */
const nothingBlocks = /is well|PoolNoJournal/;

describe.skipIf(missing)(`what cannot be${missing ? ` (skipped: ${missing})` : ''}`, { timeout: 240_000 }, () => {
  let cluster: Cluster;
  let space: Space;

  beforeAll(async () => {
    cluster = await sharedLab();
    space = await Space.create(cluster, 'wrong');
    const now = { volumeBindingMode: 'Immediate' };
    await space.apply(
      classWithoutBin('wrong'),
      ...wrong.map(([name, parameters]) => classWithoutBin(`wrong-${name}`, { ...now, parameters })),
      ...wrong.map(([name, , claim]) => claimOf(name, `wrong-${name}`, claim)),
    );
  }, 600_000);

  /** The plugin, as an administrator runs it. */
  const plugin = (...argv: readonly string[]): Promise<RunResult> =>
    tryRun([path.join(projectRoot, 'deploy/kubectl-azekura'), ...argv], {
      env: { ...process.env, KUBECTL: binary('kubectl'), KUBECONFIG: cluster.kubeconfig },
    });

  it.each(wrong.map(([name, , , said]) => [name, said] as const))(
    'is said on the claim, and why: %s',
    async (name, said) => {
      const about = `involvedObject.name=${name},type=Warning`;
      await until(
        'the Event',
        120_000,
        async () => {
          const messages = '-o=jsonpath={range .items[*]}{.message}{"\\n"}{end}';
          return said.test(await space.kubectl('get', 'events', '--field-selector', about, messages));
        },
        1_000,
      );
      const { code, stdout } = await plugin('why', `pvc/wrong/${name}`);
      expect(stdout).toMatch(said);
      expect(stdout).toContain('ClaimNotProvisioned');
      expect(code).toBe(6);
    },
  );

  it('is refused when objects are edited into nonsense', async () => {
    const pool = ['patch', 'pools.azekura.dev', 'node1-data', '--type=merge', '-p'];
    const elsewhere = '{"spec":{"source":{"kind":"directory","path":"/elsewhere"}}}';
    for (const patch of [elsewhere, '{"spec":{"nodeName":"node2"}}', '{"spec":{"reservePercent":99}}']) {
      const { code, stderr } = await cluster.tryKubectl([...pool, patch]);
      expect(code, patch).not.toBe(0);
      expect(stderr).toContain('spec');
    }
  });

  it('is told of a pod too, down to what its volume lacks; and nothing when all is well', async () => {
    await space.apply(claimOf('good', 'wrong'), podOf('good', ofClaim('good')));
    await space.apply(podOf('stuck', ofClaim('unknown-parameter')));
    await space.wait('condition=Ready', 'pod/good');
    expect(await plugin('why', 'pod/wrong/good')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(nothingBlocks),
    });
    const stuck = await plugin('why', 'pod/wrong/stuck');
    expect(stuck.stdout).toContain('persistentvolumeclaim/wrong/unknown-parameter');
    expect(stuck.code).toBe(6);
    const volume = await space.kubectl('get', 'pvc/good', '-o', 'jsonpath={.spec.volumeName}');
    expect((await plugin('why', `pv/${volume}`)).stdout).toMatch(nothingBlocks);
    expect((await plugin('volume', 'list', '-o', 'name')).stdout).toContain(volume);
    expect((await plugin('pool', 'list')).stdout).toContain('node3-data');
    await remove(space, 'good');
    await cluster.kubectl(['delete', 'namespace', space.name, '--wait=true'], { timeoutMs: 180_000 });
  });
});
