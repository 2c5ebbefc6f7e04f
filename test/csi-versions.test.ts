import { mkdirSync } from 'node:fs';
import type { JsonValue } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectDescribed } from '../lab/csi/client.ts';
import { type Instance, nothingLeft, startInstance } from '../lab/csi/instance.ts';
import { holdings } from '../lab/daemon.ts';
import { ToolMissing } from '../lab/go.ts';
import { specModule } from '../lab/sanity/build.ts';
import { facts, publishedFile } from '../lab/sanity/descriptor.ts';
import { Cleanup } from '../lab/workbench.ts';
import { csiSocketPath } from '../src/csi/index.ts';
import { file_csi } from '../src/gen/csi/csi_pb.js';

const versions = ['v1.9.0', 'v1.10.0', 'v1.11.0', 'v1.12.0'];
const missing = await Promise.all(versions.map((version) => specModule(version))).then(
  () => '',
  (error: unknown) => {
    if (error instanceof ToolMissing) return ` (skipped: ${error.message})`;
    throw error;
  },
);

/** What was taken out of 1.13: health went into calls of its own, and what it left must not be used again. */
const removed = /VolumeCondition|volume_condition|VOLUME_CONDITION|^reserved /;
/** Alpha marks come and go; on the wire they are nothing. */
const bare = (line: string) => line.replace(/ \[[^\]]*\]$/, '');

type Answer = Record<string, JsonValue>;

describe.skipIf(missing !== '').each(versions)(`clients of CSI %s${missing}`, (version) => {
  const cleanup = new Cleanup();
  let instance: Instance;
  let call: (method: string, request: JsonValue) => Promise<Answer>;

  beforeAll(async () => {
    instance = await startInstance(cleanup, { disk: '16G' });
    const file = publishedFile((await specModule(version)).folder);
    const client = connectDescribed(csiSocketPath(instance.daemon.dataDir), file);
    cleanup.add(() => client.close());
    call = async (method, request) => (await client.call(method, request)) as Answer;
  });
  afterAll(() => cleanup.run());

  it('find all that their version has, with the same numbers and types', async () => {
    const ours = new Set(facts(file_csi).map(bare));
    const theirs = facts(publishedFile((await specModule(version)).folder)).map(bare);
    expect(theirs.filter((line) => line.startsWith('rpc ')).length).toBeGreaterThan(25);
    expect(theirs.filter((line) => !ours.has(line) && !removed.test(line))).toEqual([]);
  });

  it('learn what the driver is and can do', async () => {
    expect(await call('Identity.GetPluginInfo', {})).toMatchObject({ name: 'csi.azekura.dev' });
    expect(await call('Identity.Probe', {})).toEqual({ ready: true });
    const plugin = JSON.stringify(await call('Identity.GetPluginCapabilities', {}));
    for (const each of ['CONTROLLER_SERVICE', 'VOLUME_ACCESSIBILITY_CONSTRAINTS', 'ONLINE'])
      expect(plugin).toContain(each);
    const controller = JSON.stringify(await call('Controller.ControllerGetCapabilities', {}));
    for (const each of ['CREATE_DELETE_VOLUME', 'CREATE_DELETE_SNAPSHOT', 'EXPAND_VOLUME', 'SINGLE_NODE_MULTI_WRITER'])
      expect(controller).toContain(each);
    // Taken out in 1.13: who still knows it must not be told of it.
    expect(controller).not.toContain('VOLUME_CONDITION');
    const node = JSON.stringify(await call('Node.NodeGetCapabilities', {}));
    for (const each of ['STAGE_UNSTAGE_VOLUME', 'EXPAND_VOLUME', 'VOLUME_MOUNT_GROUP']) expect(node).toContain(each);
    expect(node).not.toContain('VOLUME_CONDITION');
  });

  it('take a volume all the way and back', async () => {
    const { nodeId, accessibleTopology } = await call('Node.NodeGetInfo', {});
    const volumeCapability = { mount: { fsType: 'xfs' }, accessMode: { mode: 'SINGLE_NODE_SINGLE_WRITER' } };
    const created = await call('Controller.CreateVolume', {
      name: `pvc-${version}`,
      capacityRange: { requiredBytes: String(2 ** 30) },
      volumeCapabilities: [volumeCapability],
      mutableParameters: { recycle: '0' },
      accessibilityRequirements: { requisite: [accessibleTopology ?? {}] },
    });
    const volume = created.volume as { volumeId: string; accessibleTopology: JsonValue };
    expect(volume).toMatchObject({ capacityBytes: String(2 ** 30), accessibleTopology: [accessibleTopology] });
    const { volumeId } = volume;
    const stagingTargetPath = `${instance.scratch}/staging/${version}`;
    const targetPath = `${instance.scratch}/target/${version}`;
    mkdirSync(stagingTargetPath);
    await call('Controller.ControllerPublishVolume', { volumeId, nodeId: nodeId ?? '', volumeCapability });
    await call('Node.NodeStageVolume', { volumeId, stagingTargetPath, volumeCapability });
    await call('Node.NodePublishVolume', { volumeId, stagingTargetPath, targetPath, volumeCapability });
    expect(holdings(`${instance.scratch}/target`).mounts).toEqual([targetPath]);
    const stats = await call('Node.NodeGetVolumeStats', { volumeId, volumePath: targetPath });
    expect(stats.usage).toMatchObject([{ unit: 'BYTES' }, { unit: 'INODES' }]);
    const { snapshot } = await call('Controller.CreateSnapshot', { name: `snap-${version}`, sourceVolumeId: volumeId });
    const { snapshotId } = snapshot as { snapshotId: string };
    expect(snapshot).toMatchObject({ sourceVolumeId: volumeId, readyToUse: true });
    await call('Controller.DeleteSnapshot', { snapshotId });
    await call('Controller.ControllerExpandVolume', {
      volumeId,
      capacityRange: { requiredBytes: String(2 ** 31) },
    });
    await call('Node.NodeExpandVolume', { volumeId, volumePath: targetPath });
    const listed = await call('Controller.ListVolumes', {});
    expect(listed.entries).toMatchObject([
      { volume: { volumeId, capacityBytes: String(2 ** 31) }, status: { publishedNodeIds: [nodeId] } },
    ]);
    await call('Node.NodeUnpublishVolume', { volumeId, targetPath });
    await call('Node.NodeUnstageVolume', { volumeId, stagingTargetPath });
    await call('Controller.ControllerUnpublishVolume', { volumeId, nodeId: nodeId ?? '' });
    await call('Controller.DeleteVolume', { volumeId });
    await nothingLeft(instance.daemon);
  });
});
