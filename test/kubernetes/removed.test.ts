/**
 * Objects of ours that somebody removes by force (finalizers off, deleted) or edits into nonsense while a pod uses the
 * volume: it goes on, nothing is destroyed, it is said what has happened, and there is a way back. About six minutes on a busy machine.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../lab/kubernetes/exec.ts';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { systemNamespace } from '../../lab/kubernetes/install.ts';
import { diagnosis, volumesOnNode } from './kit.ts';
import { claimOf, ofClaim, podOf } from './probe.ts';
import { Scene } from './scene.ts';

const missing =
  process.env.AZEKURA_LONG === '1' ? labMissing({ nodes: 3 }) : 'AZEKURA_LONG is not 1; it takes six minutes';
const minute = 60_000;
const node = 'node1';
const pool = `${node}-data`;
const name = 'kept';
/** As deploy/kubectl-azekura calls it. */
const cli = ['/usr/local/bin/node', '/app/bin/azekura.mjs'];

/** Each line is durable before the next. */
const script =
  'touch /v/log; (while echo line >>/v/log && sync /v/log; do sleep 0.2; done; echo failed >/tmp/failed) & sleep 1';

interface Resource {
  readonly metadata: { readonly name: string; readonly uid: string; readonly finalizers?: readonly string[] };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: {
    readonly phase?: string;
    readonly attachedTo?: readonly string[];
    readonly causes?: readonly { readonly code: string; readonly message: string }[];
  };
}

describe.skipIf(missing)(`by force${missing ? ` (skipped: ${missing})` : ''}`, { timeout: 10 * minute }, () => {
  let scene: Scene;
  let volume: string;
  let handle: string;
  let inode: string;

  beforeAll(async () => {
    scene = await Scene.open('removed');
    const { space, className } = scene;
    await space.apply(claimOf(name, className), podOf(name, ofClaim(name), { node, script }));
    await space.ready(name);
    volume = await scene.volumeOf(name);
    handle = await scene.handleOf(name);
    inode = await inodeOfData();
  }, 10 * minute);

  // --- what is asked again and again ---

  const path = (kind: string, object: string) => `${kind}.azekura.dev/${object}`;
  const replica = () => path('replicas', `${handle}-0`);
  const attachment = () => path('attachments', `${handle}-${node}`);
  const find = async (object: string): Promise<Resource | undefined> => {
    const { code, stdout } = await scene.cluster.tryKubectl(['get', object, '-o', 'json']);
    return code === 0 ? (JSON.parse(stdout) as Resource) : undefined;
  };
  const get = async (object: string): Promise<Resource> => {
    const found = await find(object);
    if (!found) throw new Error(`there is no ${object}`);
    return found;
  };
  const soon = (what: string, question: () => Promise<boolean>) =>
    until(what, 3 * minute, question, 1_000).catch(async (error: Error) => {
      throw new Error(`${error.message}\n${await diagnosis(scene.cluster, scene.space.name)}`);
    });
  const lines = async () => Number(await scene.space.shell(name, 'wc -l </v/log'));

  async function inodeOfData(): Promise<string> {
    const file = (await volumesOnNode(scene.cluster, node)).find((each) => each.includes(handle)) ?? '';
    return scene.cluster.member(node).exec(['stat', '-c', '%i', file]);
  }

  /** The pod writes on, and to the very file that it had. */
  async function goesOn(): Promise<void> {
    const before = await lines();
    await soon('more lines', async () => (await lines()) > before);
    expect(await scene.space.shell(name, 'cat /tmp/failed 2>/dev/null || true')).toBe('');
    expect(await inodeOfData()).toBe(inode);
  }

  /** Takes all finalizers off and deletes, until the object as it was is gone. */
  async function removeByForce(object: string): Promise<void> {
    const { uid } = (await get(object)).metadata;
    await soon(`the end of ${object}`, async () => {
      if ((await find(object))?.metadata.uid !== uid) return true;
      await scene.cluster.tryKubectl(['delete', object, '--wait=false']);
      await scene.cluster.tryKubectl(['patch', object, '--type=merge', '-p', '{"metadata":{"finalizers":null}}']);
      return (await find(object))?.metadata.uid !== uid;
    });
  }

  const beside = ['-n', systemNamespace, 'exec', 'deploy/azekura-controller', '-c', 'controller', '--', ...cli];
  const azekura = (...argv: readonly string[]) =>
    scene.cluster.kubectl([...beside, ...argv], { timeoutMs: 2 * minute });

  const isWell = async () => {
    const { status } = (await find(path('volumes', volume))) ?? {};
    return status?.phase === 'Ready' && status.attachedTo?.includes(node) === true && nothingBlocks(status.causes);
  };

  it('a Volume: its claim is told, and it is adopted again', async () => {
    await removeByForce(path('volumes', volume));
    await scene.told('PersistentVolumeClaim', name, new RegExp(`VolumeObjectMissing.*${pool}`));
    await goesOn();
    // It ends with a code of its own for what is not well.
    const why = await scene.cluster.tryKubectl([...beside, 'why', `pvc/${scene.space.name}/${name}`]);
    expect(why.stdout).toContain(`azekura pool adopt ${pool} ${handle}`);
    await azekura('pool', 'adopt', pool, handle);
    await soon('the volume is well', isWell);
    await goesOn();
  });

  it('an Attachment: it is made anew and joined with what is mounted', async () => {
    const { uid } = (await get(attachment())).metadata;
    await removeByForce(attachment());
    await goesOn();
    // The attacher compares what it attached with what the driver says, once a minute.
    await soon('the attachment anew', async () => {
      const again = await find(attachment());
      return again !== undefined && again.metadata.uid !== uid && again.status.phase === 'Attached';
    });
    await soon('the volume is well', isWell);
    await goesOn();
  });

  it('a Replica: its claim is told, no empty one is made, and it is adopted again', async () => {
    await removeByForce(replica());
    await scene.told('PersistentVolumeClaim', name, /BackingMissing.*replica.*removed/);
    await goesOn();
    expect(await find(replica())).toBeUndefined();
    await azekura('pool', 'adopt', pool, handle);
    await soon('the volume is well', isWell);
    await goesOn();
  });

  it('a Pool: its node says so, and takes it up when it is made again', async () => {
    const { spec } = await get(path('pools', pool));
    await removeByForce(path('pools', pool));
    await goesOn();
    await soon('its node says so', async () => {
      const { status } = await get(path('nodes', node));
      return status.causes?.some(({ code, message }) => code === 'UnknownToCluster' && message.includes(pool)) === true;
    });
    expect(await find(path('pools', pool))).toBeUndefined();
    await scene.space.apply({ apiVersion: 'azekura.dev/v1', kind: 'Pool', metadata: { name: pool }, spec });
    await soon('the pool', async () => (await get(path('pools', pool))).status.phase === 'Ready');
    await soon('the volume is well', isWell);
    await goesOn();
  });

  it('all of them at once', async () => {
    const { spec } = await get(path('pools', pool));
    await Promise.all([path('volumes', volume), replica(), attachment(), path('pools', pool)].map(removeByForce));
    await goesOn();
    await scene.space.apply({ apiVersion: 'azekura.dev/v1', kind: 'Pool', metadata: { name: pool }, spec });
    await soon('the pool', async () => (await get(path('pools', pool))).status.phase === 'Ready');
    await soon('it is adopted', async () => {
      await azekura('pool', 'adopt', pool, handle);
      return true;
    });
    await soon('the volume is well', isWell);
    await goesOn();
  });

  it('nonsense written into each of them: refused, or without harm, and well again when it is taken back', async () => {
    const { cluster } = scene;
    const objects = { volumes: volume, replicas: `${handle}-0`, attachments: `${handle}-${node}`, pools: pool };
    const before = new Map<string, Resource['spec']>();
    for (const [kind, object] of Object.entries(objects))
      before.set(path(kind, object), (await get(path(kind, object))).spec);
    const taken: string[] = [];
    for (const [kind, part, edits] of nonsense) {
      const object = path(kind, objects[kind]);
      for (const edit of edits) {
        const argv = ['patch', object, '--type=merge', '-p', JSON.stringify({ [part]: edit })];
        const { code } = await cluster.tryKubectl([...argv, ...(part === 'status' ? ['--subresource=status'] : [])]);
        if (code === 0) taken.push(`${kind} ${part} ${JSON.stringify(edit)}`);
      }
      await goesOn();
    }
    console.log(`taken by the API server:\n${taken.join('\n')}`);
    // A container that starts anew gets what it had.
    const written = await lines();
    await cluster.member(node).exec(['pkill', '-9', '-f', 'while echo line']);
    for (const [object, spec] of before) {
      const value = [{ op: 'replace', path: '/spec', value: spec }];
      await cluster.kubectl(['patch', object, '--type=json', '-p', JSON.stringify(value)]);
    }
    await soon('the volume is well', isWell);
    await scene.space.kubectl('delete', `pod/${name}`, '--wait=true');
    await scene.space.apply(podOf(name, ofClaim(name), { node, script }));
    await scene.space.ready(name);
    expect(await lines()).toBeGreaterThanOrEqual(written);
    await goesOn();
  });

  it('leaves nothing', async () => {
    // What was adopted has the time in the bin of its class.
    const now = JSON.stringify({ spec: { recycleMs: 0 } });
    await scene.cluster.kubectl(['patch', path('volumes', volume), '--type=merge', '-p', now]);
    await scene.leaveNothing();
  });
});

/** The lab's pools lie on the machine's own disk, which may have no journal. */
function nothingBlocks(causes: Resource['status']['causes'] = []): boolean {
  return causes.every(({ code }) => code === 'PoolNoJournal');
}

type Kind = 'volumes' | 'replicas' | 'attachments' | 'pools';
const requestId = 'nonsense';

const nonsense: readonly (readonly [Kind, 'spec' | 'status' | 'metadata', readonly object[]])[] = [
  [
    'volumes',
    'spec',
    [
      { sizeBytes: -1 },
      { sizeBytes: 4_096 },
      { sizeBytes: 'ten' },
      { sizeBytes: 2 ** 60 },
      { mode: 'block' },
      { className: 'no such class' },
      { className: 'nonsense' },
      { policy: { engine: 'lvm' } },
      { policy: { filesystem: 'ext4' } },
      { policy: { encryption: 'luks2' } },
      { poolName: 'nowhere' },
      { nodeNames: ['nowhere'] },
      { claim: { namespace: 'other', name: 'thief' } },
      { restore: { snapshotName: 'none', requestId } },
      { repair: { requestId } },
      { source: { kind: 'volume', name: 'none' } },
      { recycleMs: -1 },
      { nonsense: true },
    ],
  ],
  ['volumes', 'status', [{ volumeId: 'nonsense' }, { sizeBytes: 0 }, { phase: 'Deleting' }, { replicas: [] }]],
  ['volumes', 'metadata', [{ finalizers: null }, { annotations: { 'azekura.dev/volume-id': 'nonsense' } }]],
  [
    'replicas',
    'spec',
    [
      { sizeBytes: 4_096 },
      { volumeName: 'other' },
      { volumeId: 'other' },
      { poolName: 'node2-data' },
      { nodeName: 'node2' },
      { mode: 'block' },
      { policy: { engine: 'lvm' } },
      { policy: { filesystem: 'ext4' } },
      { policy: { encryption: 'luks2' } },
      { claim: { namespace: 'other', name: 'thief' } },
      { restore: { snapshotId: 'none', requestId } },
      { recycled: { deletedAt: '2026-01-01T00:00:00Z', expiresAt: '2026-01-02T00:00:00Z' } },
      { source: { kind: 'move', volumeId: 'other', poolName: 'node1-data' } },
      { volumeGeneration: 99 },
      { purge: true },
    ],
  ],
  ['replicas', 'status', [{ sizeBytes: 0 }, { phase: 'Failed' }, { phase: 'Recycled' }]],
  ['replicas', 'metadata', [{ finalizers: null }, { annotations: { 'azekura.dev/unknown-to-cluster': 'true' } }]],
  [
    'attachments',
    'spec',
    [
      { origin: 'mount' },
      { staged: true, published: [{ path: '/etc', readOnly: false }] },
      { stagingPath: '/etc' },
      { readOnly: true },
      { mountOptions: ['noexec'] },
      { access: 'block' },
      { volumeId: 'other' },
      { volumeName: 'other' },
      { nodeName: 'node2' },
    ],
  ],
  ['attachments', 'status', [{ phase: 'Detaching' }, { phase: 'Pending', devicePath: '/dev/null' }]],
  ['attachments', 'metadata', [{ finalizers: null }]],
  [
    'pools',
    'spec',
    [
      { source: { path: '/nowhere' } },
      { source: { sizeBytes: 4_096 } },
      { source: { kind: 'directory' } },
      { engine: 'lvm' },
      { nodeName: 'node2' },
      { overcommitRatio: 0 },
    ],
  ],
  ['pools', 'status', [{ phase: 'Missing' }, { poolId: 'nonsense' }, { path: '/nowhere' }]],
  ['pools', 'metadata', [{ finalizers: null }]],
];
