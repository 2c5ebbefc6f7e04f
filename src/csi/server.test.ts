import { stat, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect } from 'node:http2';
import { connect as connectSocket, createServer } from 'node:net';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CallError, connectCsi } from '../../lab/csi/client.ts';
import { fuzzedRequest, type Known, properCodes, withKnown } from '../../lab/csi/fuzz.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { topologyKey } from './common/topology.ts';
import { type Driver, startDriver } from './fake/driver.ts';
import { code, mount as mountCapability } from './fake/kit.ts';
import { createCallMetrics } from './grpc/metrics.ts';
import { createRunner } from './grpc/runner.ts';
import { serve } from './grpc/server.ts';

const mount = mountCapability();

let driver: Driver;
beforeEach(async () => {
  driver = await startDriver();
});
afterEach(() => driver.close());

/** A Probe as raw HTTP/2, with any :authority. @returns grpc-status, or the error of the transport */
function probe(socketPath: string, authority: string): Promise<string> {
  return new Promise((resolve) => {
    const session: ClientHttp2Session = connect('http://localhost', {
      createConnection: () => connectSocket(socketPath),
    });
    const end = (result: string) => {
      session.destroy();
      resolve(result);
    };
    session.on('error', (error) => end(error.message));
    const stream = session.request({
      ':method': 'POST',
      ':path': '/csi.v1.Identity/Probe',
      ':authority': authority,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('trailers', (trailers) => end(String(trailers['grpc-status'])));
    stream.on('error', (error) => end(error.message));
    stream.on('close', () => end('closed'));
    stream.end(Buffer.from([0, 0, 0, 0, 0]));
  });
}

describe('the server', () => {
  it('has a socket for its owner only, in a folder where nothing else lies', async () => {
    expect((await stat(driver.csi.socketPath)).mode & 0o777).toBe(0o600);
    expect((await stat(path.dirname(driver.csi.socketPath))).mode & 0o777).toBe(0o700);
  });

  it.each(['localhost', '%2Fcsi%2Fcsi.sock', 'localhost:80', 'unix'])(
    'serves clients with :authority %s',
    async (authority) => {
      expect(await probe(driver.csi.socketPath, authority)).toBe('0');
    },
  );

  // Clients that send the path as it is (kubelet before 1.26) are refused by Node's own HTTP/2; the server must survive them.
  it.each(['/csi/csi.sock', ''])('goes on after a client with :authority "%s"', async (authority) => {
    await probe(driver.csi.socketPath, authority);
    expect(await probe(driver.csi.socketPath, 'localhost')).toBe('0');
  });

  it('replaces a socket that nobody answers on, and leaves any other thing', async () => {
    const options = { services: [], clock: systemClock, log: silentLogger };
    const runner = createRunner({ clock: systemClock, log: silentLogger, metrics: createCallMetrics() });
    const at = (name: string) => serve({ ...options, runner, socketPath: path.join(driver.folder, name) });
    await expect(at('csi/csi.sock')).rejects.toMatchObject({ code: 'FailedPrecondition' });
    await writeFile(path.join(driver.folder, 'file.sock'), 'data');
    await expect(at('file.sock')).rejects.toMatchObject({ code: 'FailedPrecondition' });
    await expect(at('x'.repeat(200))).rejects.toMatchObject({ code: 'InvalidArgument' });
    const dead = createServer().listen(path.join(driver.folder, 'dead.sock'));
    await new Promise((resolve) => dead.once('listening', resolve));
    // Renaming it keeps the server from removing it when it closes: so it looks after a kill -9.
    const { rename } = await import('node:fs/promises');
    await rename(path.join(driver.folder, 'dead.sock'), path.join(driver.folder, 'left.sock'));
    await new Promise((resolve) => dead.close(resolve));
    const server = await at('left.sock');
    await server.close(0);
  });

  it('answers INVALID_ARGUMENT to bytes that are no message', async () => {
    const send = (bytes: Uint8Array) => code(driver.client.raw('/csi.v1.Controller/CreateVolume', bytes));
    expect(await send(Buffer.from([0x0a, 0xff]))).toBe('INVALID_ARGUMENT');
    expect(await send(Buffer.from([0x0a, 0x02, 0xc3, 0x28]))).toBe('INVALID_ARGUMENT');
    expect(await code(driver.client.raw('/csi.v1.Controller/Nonsense', Buffer.alloc(0)))).toBe('UNIMPLEMENTED');
  });

  it('refuses messages of more than 4 MiB, and goes on', async () => {
    const huge = { name: 'a', volumeCapabilities: [mount], parameters: { a: 'x'.repeat(5 << 20) } };
    expect(await code(driver.client.controller.createVolume(huge))).toBe('RESOURCE_EXHAUSTED');
    expect(await code(driver.client.identity.probe({}))).toBe('OK');
  });

  it('sends no status details, which CSI forbids', async () => {
    const error = await driver.client.controller.createVolume({}).catch((thrown: CallError) => thrown);
    expect((error as CallError).metadata.get('grpc-status-details-bin')).toEqual([]);
  });

  it('is no error to Probe while it is not ready yet, and has no services of the part that it is not', async () => {
    let ready = false;
    const starting = await startDriver({ ready: () => ready }, { parts: ['node'] });
    expect((await starting.client.identity.probe({})).ready).toBe(false);
    ready = true;
    expect((await starting.client.identity.probe({})).ready).toBe(true);
    expect(await code(starting.client.node.nodeGetInfo({}))).toBe('OK');
    expect(await code(starting.client.controller.listVolumes({}))).toBe('UNIMPLEMENTED');
    await starting.close();
  });

  it('counts calls by method and code', async () => {
    await driver.client.identity.probe({});
    await code(driver.client.controller.createVolume({}));
    const text = await driver.csi.registry.metrics();
    expect(text).toContain('azekura_csi_calls_total{method="Probe",code="OK"} 1');
    expect(text).toContain('azekura_csi_calls_total{method="CreateVolume",code="INVALID_ARGUMENT"} 1');
    expect(text).toMatch(/azekura_csi_calls_running\{method="Probe"\} 0/);
  });

  it('writes one line for each call, with the request id, and the method, code and request', async () => {
    await driver.client.controller.createVolume({ name: 'a', volumeCapabilities: [mount] }, { requestId: 'abc.1' });
    const lines = driver.lines
      .filter((line) => line.includes('abc.1'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ method: 'CreateVolume', code: 'OK', request: { name: 'a' } });
    expect((await driver.store.get('Volume', 'a')).metadata.annotations['azekura.dev/request-id']).toBe('abc.1');
  });

  it('lets running calls finish when it stops, and makes those that wait too long answer UNAVAILABLE', async () => {
    driver.agent.hold('quick');
    driver.agent.hold('slow');
    const client = connectCsi(driver.csi.socketPath);
    const create = (name: string) => code(client.controller.createVolume({ name, volumeCapabilities: [mount] }));
    const [quick, slow] = [create('quick'), create('slow')];
    for (const name of ['quick', 'slow'])
      await expect.poll(async () => (await driver.store.find('Volume', name)) !== undefined).toBe(true);
    const closing = driver.csi.close(500);
    await driver.agent.release('quick');
    expect(await quick).toBe('OK');
    expect(await slow).toBe('UNAVAILABLE');
    await closing;
    client.close();
  });
});

describe('secrets', () => {
  const canary = 'c4n4ry-9f31';
  const secrets = { password: canary, [canary]: 'x' };

  it('never reach log, error, metrics or store, whatever the call', async () => {
    const { controller, group, node, metadata } = driver.client;
    const stagingTargetPath = path.join(driver.folder, 'staging');
    const created = await controller.createVolume({ name: 'a', volumeCapabilities: [mount], secrets });
    const volumeId = created.volume?.volumeId ?? '';
    const answers = [
      controller.createVolume({ name: 'a', volumeCapabilities: [], secrets }),
      controller.controllerPublishVolume({ volumeId, nodeId: driver.nodeName, volumeCapability: mount, secrets }),
      controller.validateVolumeCapabilities({ volumeId, volumeCapabilities: [mount], secrets }),
      controller.controllerExpandVolume({ volumeId, capacityRange: { requiredBytes: 2n ** 31n }, secrets }),
      controller.controllerModifyVolume({ volumeId, mutableParameters: { x: 'y' }, secrets }),
      controller.createSnapshot({ sourceVolumeId: volumeId, name: 's', secrets }),
      controller.listSnapshots({ secrets }),
      controller.getSnapshot({ snapshotId: 'x', secrets }),
      controller.controllerGetVolumeHealth({ volumeId, secrets }),
      controller.controllerListVolumeHealth({ secrets }),
      group.createVolumeGroupSnapshot({ name: 'g', sourceVolumeIds: [volumeId], secrets }),
      metadata.getMetadataAllocated({ snapshotId: 'x', secrets }),
      node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability: mount, secrets }),
      node.nodePublishVolume({
        volumeId,
        stagingTargetPath,
        targetPath: `${stagingTargetPath}/x`,
        volumeCapability: mount,
        secrets,
      }),
      node.nodeExpandVolume({ volumeId, volumePath: '/x', secrets }),
      node.nodeGetStorageHealth({ secrets }),
      controller.controllerUnpublishVolume({ volumeId, nodeId: '', secrets }),
      controller.deleteVolume({ volumeId, secrets }),
    ];
    const results = await Promise.allSettled(answers);
    const objects = [];
    for (const kind of ['Volume', 'Attachment', 'Snapshot', 'SnapshotGroup', 'Task'] as const)
      objects.push((await driver.store.list(kind)).items);
    const said = [
      ...driver.lines,
      await driver.csi.registry.metrics(),
      JSON.stringify(objects),
      results.map((result) => String((result as { reason?: unknown }).reason)),
    ].join('\n');
    expect(said).not.toContain(canary);
    expect(driver.lines.filter((line) => line.includes('(secret)')).length).toBeGreaterThan(10);
  });
});

describe('fuzzed requests', () => {
  it('get a proper code each, from a process that goes on', async () => {
    const { controller, group, node, metadata } = driver.client;
    const calls = Object.entries({ ...controller, ...group, ...node, ...metadata }) as [
      string,
      (init: object, options: object) => Promise<unknown>,
    ][];
    const { volume } = await controller.createVolume({ name: 'known', volumeCapabilities: [mount] });
    const volumeId = volume?.volumeId ?? '';
    const { snapshot } = await controller.createSnapshot({ name: 'known', sourceVolumeId: volumeId });
    const known: Known = {
      '@volume': volumeId,
      '@snapshot': snapshot?.snapshotId ?? '',
      '@node': driver.nodeName,
      '@path': path.join(driver.folder, 'pod'),
      '@topology': topologyKey,
    };
    const answered = new Map<string, number>();
    const numRuns = process.env.AZEKURA_LONG === '1' ? 20_000 : 1_500;
    await fc.assert(
      fc.asyncProperty(fc.nat(calls.length - 1), fuzzedRequest, async (index, init) => {
        const [name, call] = calls[index] ?? ['', undefined];
        if (!call) return;
        const result = await code(call(withKnown(init, known), { deadlineMs: 2_000 }));
        answered.set(result, (answered.get(result) ?? 0) + 1);
        if (!properCodes.includes(result)) throw new Error(`${name} answered ${result}`);
      }),
      { numRuns },
    );
    expect(await code(driver.client.identity.probe({}))).toBe('OK');
    for (const usual of ['OK', 'INVALID_ARGUMENT', 'NOT_FOUND'])
      expect(answered.get(usual) ?? 0).toBeGreaterThan(numRuns / 100);
    expect(driver.lines.filter((line) => line.includes('failed unexpectedly'))).toEqual([]);
    expect(Math.max(...driver.lines.map((line) => line.length))).toBeLessThan(100_000);
  }, 300_000);
});
