import { mkdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CallOptions } from '../lab/csi/client.ts';
import { type Instance, mountCapability, nothingLeft, startInstance } from '../lab/csi/instance.ts';
import { Cleanup, eventually } from '../lab/workbench.ts';

const gib = 2n ** 30n;
const cleanup = new Cleanup();
let instance: Instance;
beforeAll(async () => {
  instance = await startInstance(cleanup, { disk: '8G' });
});
afterAll(() => cleanup.run());

interface Line {
  readonly requestId?: string;
  readonly method?: string;
}

/** The log's lines of calls. */
function calls(): Line[] {
  return readFileSync(instance.daemon.logPath, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line)
    .filter(({ method }) => method !== undefined);
}

describe('the request id of a call', () => {
  it('is in its line of the log and in the Task of what it made, for every call that changes something', async () => {
    const { controller, node } = instance.client;
    const { nodeId, scratch } = instance;
    const stagingTargetPath = `${scratch}/staging/a`;
    const targetPath = `${scratch}/target/a`;
    mkdirSync(stagingTargetPath);
    const volumeCapability = mountCapability();
    const id = (name: string): CallOptions => ({ requestId: `req-${name}` });
    const { volume } = await controller.createVolume(
      {
        name: 'a',
        capacityRange: { requiredBytes: gib },
        volumeCapabilities: [volumeCapability],
        mutableParameters: { recycle: '0' },
      },
      id('create'),
    );
    const volumeId = volume?.volumeId ?? '';
    const at = { volumeId, stagingTargetPath, volumeCapability };
    await controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability }, id('attach'));
    await node.nodeStageVolume(at, id('stage'));
    await node.nodePublishVolume({ ...at, targetPath }, id('publish'));
    const capacityRange = { requiredBytes: 2n * gib };
    await controller.controllerExpandVolume({ volumeId, capacityRange }, id('expand'));
    const { snapshot } = await controller.createSnapshot({ name: 's', sourceVolumeId: volumeId }, id('snapshot'));
    await controller.deleteSnapshot({ snapshotId: snapshot?.snapshotId ?? '' }, id('unsnapshot'));
    await node.nodeUnpublishVolume({ volumeId, targetPath }, id('unpublish'));
    await node.nodeUnstageVolume({ volumeId, stagingTargetPath }, id('unstage'));
    await controller.controllerUnpublishVolume({ volumeId, nodeId }, id('detach'));
    await controller.deleteVolume({ volumeId }, id('delete'));

    const tasks = async () =>
      Object.fromEntries(
        (await instance.daemon.client.list('Task')).map(({ spec }) => [spec.requestId ?? spec.verb, spec.verb]),
      );
    await eventually(async () => {
      expect(await tasks()).toMatchObject({
        'req-create': 'CreateVolume',
        'req-attach': 'AttachVolume',
        'req-stage': 'AttachVolume',
        'req-publish': 'PublishVolume',
        'req-expand': 'ExpandVolume',
        'req-snapshot': 'CutSnapshot',
        'req-unsnapshot': 'DeleteSnapshot',
        'req-detach': 'DetachVolume',
      });
    });
    const logged = new Map(calls().map(({ requestId = '', method }) => [requestId, method]));
    for (const requestId of Object.keys(await tasks())) expect([...logged.keys()]).toContain(requestId);
    expect(logged.get('req-create')).toBe('CreateVolume');
    expect(logged.get('req-attach')).toBe('ControllerPublishVolume');
    expect(logged.get('req-stage')).toBe('NodeStageVolume');
  });

  it('is made up for a call that brings none, and is the same in both places', async () => {
    const { volume } = await instance.client.controller.createVolume({
      name: 'b',
      volumeCapabilities: [mountCapability()],
      mutableParameters: { recycle: '0' },
    });
    const made = (await instance.daemon.client.list('Task')).find(({ spec }) => spec.subject.name === 'b');
    const line = calls().find(({ requestId }) => requestId === made?.spec.requestId);
    expect(line?.method).toBe('CreateVolume');
    await instance.client.controller.deleteVolume({ volumeId: volume?.volumeId ?? '' });
    await nothingLeft(instance.daemon);
  });
});
