import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectCsi } from '../../../lab/csi/client.ts';
import {
  InfoRequestSchema,
  PluginInfoSchema,
  Registration as RegistrationService,
  RegistrationStatusSchema,
} from '../../gen/csi/pluginregistration_pb.js';
import { FakeClock } from '../../lib/fake-clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { type Registration, registerWithKubelet } from './registration.ts';

let kubeletDir: string;
let clock: FakeClock;
let registration: Registration;
let isListed: () => Promise<boolean>;
beforeEach(async () => {
  kubeletDir = await mkdtemp(path.join(tmpdir(), 'kubelet-'));
  clock = new FakeClock();
  isListed = async () => true;
  registration = await register();
});
afterEach(async () => {
  await registration.close();
  await rm(kubeletDir, { recursive: true });
});

function register(): Promise<Registration> {
  const endpoint = path.join(kubeletDir, 'plugins/csi.example/csi.sock');
  const parts = { kubeletDir, driverName: 'csi.example', endpoint, clock, log: silentLogger };
  return registerWithKubelet({ ...parts, isListed: () => isListed() });
}

async function call(method: string, request: Uint8Array): Promise<Buffer> {
  const client = connectCsi(registration.socketPath);
  try {
    return await client.raw(`/${RegistrationService.typeName}/${method}`, request);
  } finally {
    client.close();
  }
}

const askInfo = async () =>
  fromBinary(PluginInfoSchema, await call('GetInfo', toBinary(InfoRequestSchema, create(InfoRequestSchema))));
const notify = (pluginRegistered: boolean, error: string) =>
  call(
    'NotifyRegistrationStatus',
    toBinary(RegistrationStatusSchema, create(RegistrationStatusSchema, { pluginRegistered, error })),
  );

describe('registration with the kubelet', () => {
  it('says what the plugin is and where', async () => {
    expect(registration.socketPath).toBe(path.join(kubeletDir, 'plugins_registry/csi.example-reg.sock'));
    expect((await stat(registration.socketPath)).isSocket()).toBe(true);
    expect(await askInfo()).toMatchObject({
      type: 'CSIPlugin',
      name: 'csi.example',
      endpoint: path.join(kubeletDir, 'plugins/csi.example/csi.sock'),
      supportedVersions: ['1.0.0'],
    });
  });

  it('hears whether it was registered, also a long reason why not', async () => {
    expect(registration.state()).toBeUndefined();
    await notify(false, 'because '.repeat(100));
    expect(registration.state()).toMatchObject({ registered: false });
    await notify(true, '');
    expect(registration.state()).toEqual({ registered: true });
  });

  it('makes the socket anew when the cluster has lost the driver, once it is sure', async () => {
    const before = (await stat(registration.socketPath)).ino;
    const later = async () => {
      await clock.advance(60_000);
      return (await stat(registration.socketPath)).ino === before;
    };
    isListed = async () => false;
    expect(await later(), 'while the kubelet has not registered it yet').toBe(true);
    await notify(true, '');
    isListed = () => Promise.reject(new Error('no answer'));
    expect(await later(), 'while nobody answers').toBe(true);
    isListed = async () => true;
    expect(await later(), 'while all is well').toBe(true);
    isListed = async () => false;
    await clock.advance(60_000);
    await expect.poll(() => registration.state()).toBeUndefined();
    expect((await askInfo()).name).toBe('csi.example');
  });

  it('makes the socket anew when somebody removed it', async () => {
    await notify(true, '');
    await rm(registration.socketPath);
    await clock.advance(10_000);
    await expect.poll(() => existsSync(registration.socketPath)).toBe(true);
    expect((await askInfo()).name).toBe('csi.example');
    expect(registration.state()).toBeUndefined();
  });

  it('takes its socket away at the end, and finds the one of a killed process no obstacle', async () => {
    await registration.close();
    expect(existsSync(registration.socketPath)).toBe(false);
    registration = await register();
    expect((await askInfo()).name).toBe('csi.example');
  });

  it('refuses a place where another process serves', async () => {
    await expect(register()).rejects.toMatchObject({ code: 'FailedPrecondition' });
    expect((await askInfo()).name).toBe('csi.example');
  });
});
