import { mkdirSync } from 'node:fs';
import { connectCsi } from '../../../lab/csi/client.ts';

/*
 * A program of a machine, bundled: `csi-keys SOCKET VERB NAME`, the calls that Kubernetes makes for a volume whose key is in
 * a Secret, in the same order. The Secret's fields come as JSON by standard input. Prints what a call was refused with.
 */
const [, , socket = '', verb = '', name = ''] = process.argv;
const client = connectCsi(socket);
const nodeId = (await client.node.nodeGetInfo({})).nodeId;
const volumeCapability = {
  accessType: { case: 'mount' as const, value: { fsType: 'ext4' } },
  accessMode: { mode: 1 },
};
const stagingTargetPath = `/run/csi/${name}/globalmount`;
const targetPath = `/run/csi/${name}/mount`;
mkdirSync(stagingTargetPath, { recursive: true });

async function use(volumeId: string): Promise<void> {
  let text = '';
  for await (const part of process.stdin) text += String(part);
  const secrets = JSON.parse(text) as Record<string, string>;
  // Kubernetes has no Secret for this one: the key comes with the next.
  await client.controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability });
  await client.node.nodeStageVolume({ volumeId, volumeCapability, stagingTargetPath, secrets });
  await client.node.nodePublishVolume({ volumeId, volumeCapability, stagingTargetPath, targetPath });
}

async function leave(volumeId: string): Promise<void> {
  await client.node.nodeUnpublishVolume({ volumeId, targetPath });
  await client.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
  await client.controller.controllerUnpublishVolume({ volumeId, nodeId });
}

try {
  const { volume } = await client.controller.createVolume({
    name,
    capacityRange: { requiredBytes: 64n * 2n ** 20n },
    volumeCapabilities: [volumeCapability],
    parameters: { encryption: 'luks2' },
  });
  await (verb === 'use' ? use : leave)(volume?.volumeId ?? '');
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  client.close();
}
