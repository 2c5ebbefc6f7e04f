/** A claim and a pod that uses it: what shows that volumes can be made, used, grown, copied and deleted just now. */
import type { Space } from './kit.ts';

export interface ProbeOptions {
  readonly name: string;
  readonly className: string;
  /** Only there. */
  readonly node?: string;
}

export function claimOf(name: string, storageClassName: string, more: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name },
    spec: { accessModes: ['ReadWriteOnce'], storageClassName, resources: { requests: { storage: '320Mi' } }, ...more },
  };
}

/** A pod with one volume at /v (or as the device /dev/v), ready when the script's first line has ended. */
export function podOf(
  name: string,
  volume: object,
  {
    script = 'date >>/v/file && sync /v/file',
    node,
    block = false,
    probeSeconds = 1,
    spec = {},
  }: { script?: string; node?: string | undefined; block?: boolean; probeSeconds?: number; spec?: object } = {},
): object {
  const container = {
    name: 'c',
    image: 'localhost/busybox:1',
    imagePullPolicy: 'Never',
    command: ['sh', '-c', `${script} && touch /tmp/done; exec sleep 100000`],
    readinessProbe: { exec: { command: ['test', '-e', '/tmp/done'] }, periodSeconds: probeSeconds },
    ...(block
      ? { volumeDevices: [{ name: 'v', devicePath: '/dev/v' }] }
      : { volumeMounts: [{ name: 'v', mountPath: '/v' }] }),
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      terminationGracePeriodSeconds: 0,
      ...(node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': node } }),
      containers: [container],
      volumes: [{ name: 'v', ...volume }],
      ...spec,
    },
  };
}

export const ofClaim = (claimName: string): object => ({ persistentVolumeClaim: { claimName } });

/** Asks for a volume and a pod with it; they may come when they can. */
export async function askFor(space: Space, { name, className, node }: ProbeOptions): Promise<void> {
  await space.apply(claimOf(name, className), podOf(name, ofClaim(name), { node }));
}

/** Lets the volume grow while it is used, and waits until the file system has. */
export async function grow(space: Space, name: string): Promise<void> {
  const patch = JSON.stringify({ spec: { resources: { requests: { storage: '400Mi' } } } });
  await space.kubectl('patch', 'pvc', name, '-p', patch);
  await space.wait('jsonpath={.status.capacity.storage}=400Mi', `pvc/${name}`);
}

/** Makes a snapshot of the volume while it is used, and deletes it. */
export async function snapshot(space: Space, name: string): Promise<void> {
  await space.apply({
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: { name },
    spec: { volumeSnapshotClassName: 'azekura', source: { persistentVolumeClaimName: name } },
  });
  await space.wait('jsonpath={.status.readyToUse}=true', `volumesnapshot/${name}`);
  await space.kubectl('delete', 'volumesnapshot', name, '--wait=true');
}

/** Deletes pod and claim, and waits until Kubernetes has no volume of it any more. */
export async function remove(space: Space, name: string): Promise<void> {
  const volume = await space.kubectl('get', 'pvc', name, '-o', 'jsonpath={.spec.volumeName}');
  await space.kubectl('delete', `pod/${name}`, `pvc/${name}`, '--wait=true');
  await space.cluster.kubectl(['wait', '--for=delete', `pv/${volume}`, '--timeout=150s'], { timeoutMs: 160_000 });
}
