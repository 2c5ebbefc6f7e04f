/** A node as it was before it joined: `azekura up` on one machine, with a pool and a volume that holds something. */
import { type Lab, until } from '../../lab/kubernetes/index.ts';

export interface Legacy {
  readonly volumeId: string;
  readonly sizeBytes: number;
}

/**
 * Runs `azekura up` on a node until it has made a pool and a volume, writes a file into that, and ends it.
 *
 * @param argv0 node and the program
 * @param at.image of the pool, of 2 GiB
 */
export async function runAlone(
  lab: Lab,
  node: string,
  argv0: readonly string[],
  at: { readonly dataDir: string; readonly pool: string; readonly image: string; readonly volume: string },
): Promise<Legacy> {
  const command = (...argv: string[]): string[] => [...argv0, '--data-dir', at.dataDir, ...argv];
  const member = lab.member(node);
  const azekura = (...argv: string[]): Promise<string> => member.exec(command(...argv));
  await lab.run(node, 'up', command('up', '--no-pool'));
  const add = command('pool', 'add', at.pool, at.image, '--size', '2Gi', '--accept-no-journal');
  // Refused until it has started.
  await until('a pool', 90_000, async () => (await member.tryExec(add)).code === 0, 500);
  await azekura('volume', 'create', at.volume, '--size', '320Mi', '--pool', at.pool);
  const mount = `${at.dataDir}-look`;
  await azekura('volume', 'mount', at.volume, mount);
  await member.exec(['sh', '-c', 'echo kept >"$0/file" && sync "$0/file"', mount]);
  await azekura('volume', 'umount', at.volume);
  const { status } = JSON.parse(await azekura('volume', 'show', at.volume, '-o', 'json')) as { status: Legacy };
  await member.stop('up', { forget: true });
  return status;
}

/** A PersistentVolume of a volume that is there, and a claim for it. */
export function claimOfLegacy(name: string, { volumeId, sizeBytes }: Legacy, driver: string, node: string): object[] {
  const shared = { storageClassName: '', accessModes: ['ReadWriteOnce'] };
  const onNode = { key: 'topology.azekura.dev/node', operator: 'In', values: [node] };
  return [
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name },
      spec: {
        ...shared,
        capacity: { storage: String(sizeBytes) },
        persistentVolumeReclaimPolicy: 'Retain',
        csi: { driver, volumeHandle: volumeId, fsType: 'xfs' },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [onNode] }] } },
        claimRef: { namespace: 'default', name },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name, namespace: 'default' },
      spec: { ...shared, volumeName: name, resources: { requests: { storage: String(sizeBytes) } } },
    },
  ];
}
