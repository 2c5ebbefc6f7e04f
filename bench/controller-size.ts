/**
 * A controller beside a real kube-apiserver with 100, 1,000 and 10,000 volumes (--quick: 100 and 1,000): its memory, and
 * the processor time in which it reads everything and looks at each of them, as it does at its start and at every relist.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt, launcher } from '../lab/daemon.ts';
import { startLab } from '../lab/kubernetes/index.ts';
import { eventually, sleep } from '../lab/workbench.ts';
import { ControlFixture } from '../src/control/fixture.ts';
import { KubeClient } from '../src/kube/client.ts';
import { findAccess } from '../src/kube/connect.ts';
import type { Kind, Resource } from '../src/model/kinds.ts';
import { openKubernetesStore } from '../src/store/kubernetes/kubernetes-store.ts';
import type { Store } from '../src/store/store.ts';
import { applyDefinitions } from '../test/kubernetes/api.ts';
import type { Bench, BenchContext, Measurement } from './bench.ts';

const clockTicksPerSecond = 100;
const writers = 24;

export const controllerSize: Bench = {
  name: 'controller-size',
  title: 'memory and resync of a controller with 100 to 10,000 volumes in a real API server',
  async run(context) {
    const { quick, cleanup, note } = context;
    ensureBuilt();
    const lab = await startLab({ nodes: 0, say: note });
    cleanup.add(() => lab.stop());
    const client = new KubeClient({
      access: await findAccess({ kubeconfig: lab.kubeconfig }),
      fieldManager: 'azekura-bench',
    });
    cleanup.add(() => client.close());
    await applyDefinitions(client);
    const store = openKubernetesStore({ client });
    const pattern = await makePattern(client);
    const empty = await measure(lab.kubeconfig, context, 'empty');
    const measurements: Measurement[] = [];
    let made = 0;
    for (const count of quick ? [100, 1_000] : [100, 1_000, 10_000]) {
      const sinceMs = performance.now();
      for (; made < count; made += writers)
        await Promise.all(
          Array.from({ length: Math.min(writers, count - made) }, (_, i) => copy(store, pattern, made + i)),
        );
      made = count;
      note(`${count} volumes after ${((performance.now() - sinceMs) / 1_000).toFixed(0)} s`);
      const { cpuMs, residentBytes } = await measure(lab.kubeconfig, context, String(count));
      const { items } = await store.list('Volume', { limit: 500 });
      const other = items.find(({ status }) => status.phase !== 'Ready');
      if (other) throw new Error(`volume ${other.metadata.name} is ${other.status.phase}`);
      measurements.push(
        {
          name: `controller-size/${count} volumes, memory`,
          value: residentBytes / 2 ** 20,
          unit: 'MiB',
          goal: { of: 'value', is: 'at most', than: 256 },
        },
        { name: `controller-size/${count} volumes, resync`, value: cpuMs - empty.cpuMs, unit: 'ms of processor' },
      );
    }
    return measurements;
  },
};

interface Pattern {
  readonly volume: Resource<'Volume'>;
  readonly replica: Resource<'Replica'>;
}

/** A volume as the real controllers make it, with agents that do at once what they are told. */
async function makePattern(client: KubeClient): Promise<Pattern> {
  const fixture = await ControlFixture.open({ store: openKubernetesStore({ client }) });
  try {
    const volume = await fixture.volume('pattern', 2 ** 29);
    const { items } = await fixture.store.list('Replica');
    const replica = items.find(({ spec }) => spec.volumeId === volume.status.volumeId);
    if (!replica) throw new Error('the volume has no replica');
    const pool = await fixture.store.get('Pool', 'main');
    await fixture.store.updateStatus({
      ...pool,
      status: { ...pool.status, capacityBytes: 2 ** 50, freeBytes: 2 ** 50 },
    });
    return { volume, replica };
  } finally {
    await fixture.close();
  }
}

async function copy(store: Store, { volume, replica }: Pattern, index: number): Promise<void> {
  const patternId = volume.status.volumeId ?? '';
  const id = index.toString(36).padStart(patternId.length, '0');
  const name = `pvc-${index.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;
  const renamed = <K extends Kind>(object: Resource<K>, uid: string): Resource<K> =>
    JSON.parse(
      JSON.stringify(object)
        .replaceAll(patternId, id)
        .replaceAll('"pattern"', JSON.stringify(name))
        .replaceAll(volume.metadata.uid, uid),
    ) as Resource<K>;
  const bare = <K extends Kind>({ kind, metadata, spec, status }: Resource<K>) => {
    const { labels, annotations, finalizers, ownerReferences } = metadata;
    return { kind, metadata: { name: metadata.name, labels, annotations, finalizers, ownerReferences }, spec, status };
  };
  const ours = await store.create(bare(renamed(volume, volume.metadata.uid)));
  await store.create(bare(renamed(replica, ours.metadata.uid)));
}

/** Starts a controller, waits until it has nothing more to do, and ends it. */
async function measure(kubeconfig: string, { scratch, cleanup }: BenchContext, name: string) {
  const runDir = path.join(scratch, `run-${name}`);
  mkdirSync(runDir, { recursive: true });
  const log = openSync(path.join(scratch, `${name}.log`), 'w');
  const argv = [launcher, 'controller', '--kubeconfig', kubeconfig, '--namespace', 'default', '--run-dir', runDir];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', log, log] });
  cleanup.add(() => end(child));
  const text = (): string => readFileSync(path.join(scratch, `${name}.log`), 'utf8');
  await eventually(() => {
    if (child.exitCode !== null || !text().includes('the controller is up')) throw new Error(text().slice(-2_000));
  }, 120_000);
  // The Lease of the one before must have run out.
  let last = -1;
  let quietSeconds = 0;
  for (let second = 0; quietSeconds < 25; second++) {
    await sleep(1_000);
    const now = cpuMsOf(child);
    quietSeconds = now - last <= 40 ? quietSeconds + 1 : 0;
    last = now;
    if (second > 600) throw new Error('the controller does not come to rest');
  }
  const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
  const result = { cpuMs: cpuMsOf(child), residentBytes: Number(rss) * 1_024 };
  await end(child);
  return result;
}

/** proc_pid_stat(5): fields 14 and 15; the name before them may hold anything but ")" at the end. */
function cpuMsOf({ pid }: ChildProcess): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return ((Number(user) + Number(system)) * 1_000) / clockTicksPerSecond;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await gone;
}
