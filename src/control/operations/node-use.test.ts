import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError } from '../../model/errors.ts';
import { attachmentName } from '../../model/names.ts';
import { changeStatus } from '../../store/change.ts';
import { ControlFixture } from '../fixture.ts';
import type { AttachRequest, Operations } from '../operations.ts';
import { silentAfterMs } from './silent-node.ts';

let fixture: ControlFixture;
let operations: Operations;
beforeAll(async () => {
  fixture = await ControlFixture.open({ answersForAll: true });
  await fixture.addNode('there');
  operations = fixture.operations;
});
afterAll(() => fixture.close());

async function refusal(promise: Promise<unknown>): Promise<AzekuraError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof AzekuraError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

let requests = 0;
const request = (part: Partial<AttachRequest> = {}): AttachRequest => ({
  nodeName: 'here',
  access: 'filesystem',
  readOnly: false,
  mountOptions: [],
  observeRequestId: `r${++requests}`,
  ...part,
});
const stored = async (name: string) => {
  const { volumeId } = (await fixture.store.get('Volume', name)).status;
  return fixture.store.find('Attachment', attachmentName(volumeId ?? '', 'here'));
};
const publication = (path: string, part: { readOnly?: boolean; exclusive?: boolean; mountGroup?: number } = {}) => ({
  nodeName: 'here',
  path,
  readOnly: false,
  exclusive: false,
  observeRequestId: `r${++requests}`,
  ...part,
});

describe('a volume used step by step', () => {
  it('is attached, staged, published and all of it taken back; every step may be repeated', async () => {
    await fixture.volume('v');
    for (let time = 0; time < 2; time++) await operations.attachVolume('v', request());
    expect((await stored('v'))?.spec).toMatchObject({ origin: 'publish', staged: false });
    for (let time = 0; time < 2; time++) await operations.stageVolume('v', { ...request(), stagingPath: '/k/stage' });
    expect((await stored('v'))?.spec).toMatchObject({ origin: 'publish', staged: true, stagingPath: '/k/stage' });
    for (let time = 0; time < 2; time++) await operations.publishPath('v', publication('/k/pod'));
    expect((await stored('v'))?.spec.published).toEqual([{ path: '/k/pod', readOnly: false }]);
    expect(await refusal(operations.unstageVolume('v', { nodeName: 'here' }))).toMatchObject({
      code: 'FailedPrecondition',
    });
    expect(await refusal(operations.detachVolume('v', {}))).toMatchObject({ code: 'FailedPrecondition' });
    for (let time = 0; time < 2; time++) await operations.unpublishPath('v', { nodeName: 'here', path: '/k/pod' });
    expect(await refusal(operations.detachVolume('v', {}))).toMatchObject({ code: 'FailedPrecondition' });
    for (let time = 0; time < 2; time++) await operations.unstageVolume('v', { nodeName: 'here' });
    expect((await stored('v'))?.spec).toMatchObject({ staged: false });
    expect((await stored('v'))?.spec.stagingPath).toBeUndefined();
    for (let time = 0; time < 2; time++) await operations.detachVolume('v', { nodeName: 'here' });
    await expect.poll(() => stored('v')).toBeUndefined();
    await operations.detachVolume('v', {});
    expect(await operations.unstageVolume('v', { nodeName: 'here' })).toBeUndefined();
    expect(await operations.unpublishPath('v', { nodeName: 'here', path: '/k/pod' })).toBeUndefined();
  });

  it('that was staged without being attached goes with its staging', async () => {
    await fixture.volume('s');
    await operations.stageVolume('s', { ...request(), stagingPath: '/k/s' });
    expect((await stored('s'))?.spec.origin).toBe('stage');
    await operations.unstageVolume('s', { nodeName: 'here' });
    await expect.poll(() => stored('s')).toBeUndefined();
  });

  it('that was staged first and attached then stays attached when it is unstaged', async () => {
    await fixture.volume('p');
    await operations.stageVolume('p', { ...request(), stagingPath: '/k/p' });
    expect(await refusal(operations.detachVolume('p', {}))).toMatchObject({ code: 'FailedPrecondition' });
    await operations.attachVolume('p', request());
    expect(await refusal(operations.detachVolume('p', {}))).toMatchObject({ code: 'FailedPrecondition' });
    await operations.unstageVolume('p', { nodeName: 'here' });
    expect((await stored('p'))?.spec).toMatchObject({ origin: 'publish', staged: false });
    await operations.detachVolume('p', {});
    await expect.poll(() => stored('p')).toBeUndefined();
  });

  it('is published for one group at each path', async () => {
    await fixture.volume('g');
    await operations.stageVolume('g', { ...request(), stagingPath: '/k/g' });
    for (let time = 0; time < 2; time++) await operations.publishPath('g', publication('/k/a', { mountGroup: 5 }));
    for (const other of [{}, { mountGroup: 6 }])
      expect(await refusal(operations.publishPath('g', publication('/k/a', other)))).toMatchObject({
        code: 'AlreadyExists',
      });
    await operations.publishPath('g', publication('/k/b', { mountGroup: 6 }));
    expect((await stored('g'))?.spec.published).toEqual([
      { path: '/k/a', readOnly: false, mountGroup: 5 },
      { path: '/k/b', readOnly: false, mountGroup: 6 },
    ]);
  });

  it('makes the agent look again with every request', async () => {
    await fixture.volume('o');
    const first = await operations.attachVolume('o', request());
    const second = await operations.attachVolume('o', request());
    expect(second.metadata.generation).toBe(first.metadata.generation + 1);
    await operations.detachVolume('o', {});
  });
});

describe('a volume in use is not used otherwise at the same time', () => {
  it('on another node, in another way, at another staging path, or exclusively at two paths', async () => {
    await fixture.volume('x');
    await operations.stageVolume('x', { ...request({ accessMode: 'SingleNodeWriter' }), stagingPath: '/k/x' });
    const elsewhere = await refusal(operations.attachVolume('x', request({ nodeName: 'there' })));
    expect(elsewhere).toMatchObject({ code: 'FailedPrecondition', details: { node: 'here' } });
    expect(elsewhere.message).toContain('here');
    expect(await refusal(operations.attachVolume('x', request({ readOnly: true })))).toMatchObject({
      code: 'AlreadyExists',
    });
    expect(await refusal(operations.attachVolume('x', request({ accessMode: 'MultiNodeReader' })))).toMatchObject({
      code: 'AlreadyExists',
    });
    expect(await refusal(operations.stageVolume('x', { ...request(), stagingPath: '/k/y' }))).toMatchObject({
      code: 'AlreadyExists',
    });
    await operations.publishPath('x', publication('/k/pod1'));
    expect(await refusal(operations.publishPath('x', publication('/k/pod2', { exclusive: true })))).toMatchObject({
      code: 'FailedPrecondition',
    });
    expect(await refusal(operations.publishPath('x', publication('/k/pod1', { readOnly: true })))).toMatchObject({
      code: 'AlreadyExists',
    });
    expect(await refusal(operations.unmountVolume('x'))).toMatchObject({ blame: { code: 'InUse' } });
  });

  it('nor beyond what its node may have, nor where it is not', async () => {
    await fixture.volume('y');
    expect(await refusal(operations.attachVolume('y', request({ maxPerNode: 1 })))).toMatchObject({
      code: 'ResourceExhausted',
    });
    expect(await refusal(operations.attachVolume('y', request({ nodeName: 'nowhere' })))).toMatchObject({
      code: 'NotFound',
    });
    expect(await refusal(operations.attachVolume('nonesuch', request()))).toMatchObject({ code: 'NotFound' });
    expect(await refusal(operations.attachVolume('y', request({ access: 'block' })))).toMatchObject({
      code: 'InvalidArgument',
    });
    expect(await refusal(operations.publishPath('y', publication('/k/pod')))).toMatchObject({
      code: 'FailedPrecondition',
    });
  });
});

describe('a volume that is staged on a node that does not answer', () => {
  const attached = async (
    name: string,
    status: { phase: 'Ready' | 'NotReady'; heartbeat?: string },
    silentMs: number = 0,
  ) => {
    const nodeName = `n-${name}`;
    fixture.silent.set(nodeName, silentMs);
    await fixture.store.create({ kind: 'Node', metadata: { name: nodeName }, spec: {}, status });
    const { status: volume } = await fixture.volume(name);
    const attachment = attachmentName(volume.volumeId ?? '', nodeName);
    fixture.stuck.add(attachment);
    await operations.stageVolume(name, { ...request({ nodeName }), stagingPath: '/k/n' });
    await operations.publishPath(name, { ...publication('/k/pod'), nodeName });
    const find = () => fixture.store.find('Attachment', attachment);
    const detach = () => operations.detachVolume(name, { nodeName });
    return { nodeName, attachment, find, detach };
  };
  // Its clock is nobody's business.
  const heartbeat = '1999-01-01T00:00:00.000Z';

  it.each([
    ['has not reported for minutes', { phase: 'Ready' as const, heartbeat }, silentAfterMs + 60_000],
    ['never came up', { phase: 'NotReady' as const }, 0],
  ])('is detached where it %s, and taken down when it comes back', async (what, status, silentMs) => {
    const name = what.startsWith('has') ? 'dead' : 'unborn';
    const { attachment, find, detach, nodeName } = await attached(name, status, silentMs);
    for (let time = 0; time < 2; time++) expect(await detach()).toEqual({ unattended: [attachment] });
    expect((await find())?.metadata.deletionTimestamp).toBeDefined();
    // Until then nobody else may have it: the node may still write.
    const elsewhere = await refusal(operations.attachVolume((await find())?.spec.volumeName ?? '', request()));
    expect(elsewhere).toMatchObject({ code: 'FailedPrecondition', details: { node: nodeName } });
  });

  it('is let go of at once when the node is no more', async () => {
    const { attachment, find, detach, nodeName } = await attached('lost', { phase: 'Ready', heartbeat });
    await fixture.store.delete('Node', nodeName);
    expect(await detach()).toEqual({ unattended: [attachment] });
    expect(await find()).toBeUndefined();
  });

  it('is attached there again while the kubelet keeps what was deleted, and only there, and only in the same way', async () => {
    const { attachment, find, detach, nodeName } = await attached(
      'back',
      { phase: 'Ready', heartbeat },
      silentAfterMs + 1,
    );
    await detach();
    const again = (part: Partial<AttachRequest> = {}) =>
      operations.attachVolume('back', request({ nodeName, ...part }));
    // While nobody says that pods use it, it is on its way out.
    expect(await refusal(again())).toMatchObject({ code: 'Aborted' });
    const cause = makeCause('DeletedInUse', { object: attachment, node: nodeName, volume: 'back' });
    const causes = [{ ...cause, since: heartbeat }];
    await changeStatus(fixture.store, 'Attachment', attachment, () => ({ causes }));
    expect(await refusal(again({ readOnly: true }))).toMatchObject({ code: 'Aborted' });
    expect(await refusal(operations.attachVolume('back', request()))).toMatchObject({ code: 'FailedPrecondition' });
    const before = (await find())?.metadata.uid;
    await again();
    const after = await find();
    expect(after?.metadata.uid).not.toBe(before);
    expect(after?.metadata.deletionTimestamp).toBeUndefined();
    expect(after?.spec).toMatchObject({ nodeName, origin: 'publish', staged: false });
  });

  it('stays attached where the node has reported lately', async () => {
    const { find, detach } = await attached('alive', { phase: 'Ready', heartbeat }, silentAfterMs - 60_000);
    expect(await refusal(detach())).toMatchObject({ blame: { code: 'InUse' } });
    expect((await find())?.metadata.deletionTimestamp).toBeUndefined();
  });
});
