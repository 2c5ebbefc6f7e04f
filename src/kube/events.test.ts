import { afterEach, beforeEach, expect, it } from 'vitest';
import { FakeClock } from '../lib/fake-clock.ts';
import { makeCause } from '../model/cause.ts';
import { KubeClient } from './client.ts';
import { EventRecorder, type Told } from './events.ts';
import { FakeApiServer } from './fake/api-server.ts';
import { eventType, type KubeEvent } from './types.ts';

let server: FakeApiServer;
let client: KubeClient;
let clock: FakeClock;
let recorder: EventRecorder;
beforeEach(async () => {
  server = await FakeApiServer.start();
  client = new KubeClient({ access: server.access, fieldManager: 'test' });
  clock = new FakeClock();
  recorder = new EventRecorder({ client, controller: 'azekura.dev/controller', instance: 'pod-1', clock });
});
afterEach(async () => {
  await recorder.close();
  client.close();
  await server.close();
});

const claim = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace: 'shop', name: 'db', uid: 'u1' };
const told = (more: Partial<Told> = {}): Told => ({
  regarding: claim,
  type: 'Warning',
  reason: 'PoolFull',
  action: 'Provision',
  note: 'no room',
  ...more,
});
const events = async () => (await client.list<KubeEvent>(eventType)).items;

it('is one event for the same thing told again and again, with a count that is written now and then', async () => {
  for (let time = 0; time < 5; time++) recorder.tell(told());
  await clock.advance(0);
  await expect.poll(async () => (await events())[0]?.series?.count).toBe(5);
  const before = server.requests.length;
  for (let second = 0; second < 59; second++) {
    recorder.tell(told());
    await clock.advance(1_000);
  }
  expect(server.requests.slice(before).filter((line) => line.startsWith('PATCH'))).toEqual([]);
  await clock.advance(2_000);
  await expect.poll(async () => (await events())[0]?.series?.count).toBe(64);
  expect(await events()).toHaveLength(1);
});

it('is another event for another object, reason or sentence, and after a long silence', async () => {
  recorder.tell(told());
  recorder.tell(told({ regarding: { ...claim, uid: 'u2' } }));
  recorder.tell(told({ reason: 'PoolMissing' }));
  recorder.tell(told({ note: 'no room at all' }));
  await clock.advance(6 * 60_000 + 1);
  recorder.tell(told());
  await expect.poll(async () => (await events()).length).toBe(5);
  expect(new Set((await events()).map(({ metadata }) => metadata.name)).size).toBe(5);
});

it('tells a cause with its code, sentence and next step, in the namespace of the object', async () => {
  const cause = makeCause('HungCall', { what: 'pool main' });
  recorder.tellCause(claim, 'Provision', cause);
  recorder.tellCause({ apiVersion: 'azekura.dev/v1', kind: 'Volume', name: 'v' }, 'Provision', cause);
  await expect.poll(async () => (await events()).length).toBe(2);
  const [first, second] = await events();
  const about = [first, second].find((event) => event?.regarding.kind === 'PersistentVolumeClaim');
  expect(about).toMatchObject({ reason: 'HungCall', type: 'Warning', metadata: { namespace: 'shop' } });
  expect(about?.note).toBe(`${cause.message}. ${cause.nextStep}`);
  expect([first, second].map((event) => event?.metadata.namespace).sort()).toEqual(['default', 'shop']);
});

it('shortens what is too long, in whole characters', async () => {
  recorder.tell(told({ note: 'ü'.repeat(2_000) }));
  await expect.poll(async () => (await events()).length).toBe(1);
  const note = (await events())[0]?.note ?? '';
  expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1_024);
  expect(note).toMatch(/^ü+…$/);
});

it('does not fail when the server does, and begins anew when the event is gone', async () => {
  server.answerWith = (_, response) => {
    response.writeHead(403).end('{}');
    return true;
  };
  recorder.tell(told());
  await clock.advance(1);
  server.answerWith = undefined;
  recorder.tell(told());
  await clock.advance(61_000);
  await expect
    .poll(async () => {
      recorder.tell(told());
      await clock.advance(61_000);
      return (await events()).length;
    })
    .toBe(1);
});
