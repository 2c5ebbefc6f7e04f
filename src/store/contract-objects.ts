import { expect, it } from 'vitest';
import type { AzekuraError } from '../model/errors.ts';
import type { NewResource } from '../model/kinds.ts';
import { apiVersion } from '../model/meta.ts';
import { change } from './change.ts';
import { type Current, newVolume, refusal } from './contract-helpers.ts';

/** The rules of get, create, update and updateStatus. */
export function describeObjects(current: Current): void {
  it('fills in what a new object lacks', async () => {
    const made = await current().store.create(newVolume('db'));
    expect(made).toMatchObject({ apiVersion, kind: 'Volume', metadata: { name: 'db', generation: 1, finalizers: [] } });
    expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(made.metadata.deletionTimestamp).toBeUndefined();
    expect(made.metadata.resourceVersion).not.toBe('');
    expect(new Date(made.metadata.creationTimestamp).getTime()).toBeGreaterThan(0);
    expect(made.spec).toMatchObject({ sizeBytes: 4096, mode: 'filesystem', policy: { engine: 'file' } });
    expect(made.status).toMatchObject({ phase: 'Pending', causes: [] });
    expect(await current().store.get('Volume', 'db')).toEqual(made);
  });

  it('hands out frozen values', async () => {
    const made = await current().store.create(newVolume('db', { labels: { a: 'b' } }));
    for (const object of [
      made,
      await current().store.get('Volume', 'db'),
      (await current().store.list('Volume')).items[0],
    ]) {
      for (const part of [
        object,
        object?.metadata,
        object?.metadata.labels,
        object?.spec.policy,
        object?.status.causes,
      ]) {
        expect(Object.isFrozen(part)).toBe(true);
      }
    }
  });

  it('tells what is there from what is not', async () => {
    const { store } = current();
    const made = await store.create(newVolume('db'));
    expect((await refusal(store.create(newVolume('db')))).code).toBe('AlreadyExists');
    expect((await refusal(store.get('Volume', 'none'))).code).toBe('NotFound');
    expect(await store.find('Volume', 'none')).toBeUndefined();
    expect(await store.find('Replica', 'db')).toBeUndefined();
    const stranger = { ...made, metadata: { ...made.metadata, name: 'none' } };
    expect((await refusal(store.update(stranger))).code).toBe('NotFound');
    expect((await refusal(store.updateStatus(stranger))).code).toBe('NotFound');
    for (const odd of ['', '..', 'a/b', 'Volume/db', 'x'.repeat(5_000), 'nul\0'])
      expect(await store.find('Volume', odd)).toBeUndefined();
  });

  it.each([
    ['a name in capitals', newVolume('Db'), 'metadata.name'],
    ['an empty name', newVolume(''), 'metadata.name'],
    ['a name of 64 bytes', newVolume('a'.repeat(64)), 'metadata.name'],
    ['a name with a slash', newVolume('a/b'), 'metadata.name'],
    ['a negative size', newVolume('db', {}, -1), 'spec.sizeBytes'],
    ['a fraction of a byte', newVolume('db', {}, 1.5), 'spec.sizeBytes'],
    ['a size of 2^63', newVolume('db', {}, 2 ** 63), 'spec.sizeBytes'],
    ['a size in words', newVolume('db', {}, 'ten' as unknown as number), 'spec.sizeBytes'],
    ['no size', { kind: 'Volume', metadata: { name: 'db' }, spec: {} } as NewResource<'Volume'>, 'spec.sizeBytes'],
    [
      'an unknown field',
      { ...newVolume('db'), spec: { sizeBytes: 1, colour: 'red' } } as NewResource<'Volume'>,
      'colour',
    ],
    ['a wrong choice', { ...newVolume('db'), spec: { sizeBytes: 1, mode: 'tape' as 'block' } }, 'spec.mode'],
  ])('refuses %s, naming the field in one sentence', async (_, object, field) => {
    const error = await refusal(current().store.create(object));
    expect(error.code).toBe('InvalidArgument');
    expect(error.message).toContain(field);
    expect(error.message).not.toContain('\n');
    expect((await current().store.list('Volume')).items).toEqual([]);
  });

  it('validates updates and statuses too', async () => {
    const { store } = current();
    const made = await store.create(newVolume('db'));
    const wrong = {
      ...made,
      spec: { ...made.spec, sizeBytes: -1 },
      status: { ...made.status, phase: 'Odd' as 'Ready' },
    };
    expect(await refusal(store.update(wrong))).toMatchObject({
      code: 'InvalidArgument',
      message: expect.stringContaining('spec.sizeBytes'),
    });
    expect(await refusal(store.updateStatus(wrong))).toMatchObject({
      code: 'InvalidArgument',
      message: expect.stringContaining('status.phase'),
    });
    expect(await store.get('Volume', 'db')).toEqual(made);
  });

  it('keeps spec and status apart and counts changes of spec only', async () => {
    const { store } = current();
    const made = await store.create(newVolume('db'));
    const both = {
      ...made,
      spec: { ...made.spec, sizeBytes: 8192 },
      status: { ...made.status, phase: 'Ready' as const },
    };
    const respecified = await store.update(both);
    expect(respecified).toMatchObject({
      spec: { sizeBytes: 8192 },
      status: { phase: 'Pending' },
      metadata: { generation: 2 },
    });
    const status = { ...respecified.status, phase: 'Ready' as const, observedGeneration: 2 };
    const observed = await store.updateStatus({ ...respecified, spec: made.spec, status });
    expect(observed).toMatchObject({ spec: { sizeBytes: 8192 }, status: { phase: 'Ready', observedGeneration: 2 } });
    const labelled = await store.update({ ...observed, metadata: { ...observed.metadata, labels: { a: 'b' } } });
    expect(labelled.metadata).toMatchObject({ generation: 2, labels: { a: 'b' }, uid: made.metadata.uid });
    expect(labelled.status.phase).toBe('Ready');
  });

  it('leaves the metadata that is not for callers as it is', async () => {
    const { store } = current();
    const made = await store.create(newVolume('db'));
    const forged = { ...made.metadata, generation: 99, creationTimestamp: '2001-01-01T00:00:00Z', labels: { a: 'b' } };
    const updated = await store.update({ ...made, metadata: forged });
    expect(updated.metadata).toMatchObject({
      generation: 1,
      creationTimestamp: made.metadata.creationTimestamp,
      labels: { a: 'b' },
    });
  });

  it('refuses to write over what somebody else changed', async () => {
    const { store } = current();
    const made = await store.create(newVolume('db'));
    const newer = await store.update({ ...made, spec: { ...made.spec, sizeBytes: 8192 } });
    expect((await refusal(store.update({ ...made, spec: { ...made.spec, sizeBytes: 1 } }))).code).toBe('Conflict');
    expect((await refusal(store.updateStatus({ ...made, status: { ...made.status, phase: 'Ready' } }))).code).toBe(
      'Conflict',
    );
    expect(await store.get('Volume', 'db')).toEqual(newer);
  });

  it('takes a new object under an old name for another one', async () => {
    const { store } = current();
    const first = await store.create(newVolume('db'));
    await store.delete('Volume', 'db');
    const second = await store.create(newVolume('db'));
    expect(second.metadata.uid).not.toBe(first.metadata.uid);
    expect((await refusal(store.update(first))).code).toBe('Conflict');
    expect((await refusal(store.delete('Volume', 'db', { uid: first.metadata.uid }))).code).toBe('Conflict');
    expect(
      (await refusal(store.delete('Volume', 'db', { resourceVersion: first.metadata.resourceVersion }))).code,
    ).toBe('Conflict');
    await store.delete('Volume', 'db', { uid: second.metadata.uid, resourceVersion: second.metadata.resourceVersion });
    expect(await store.find('Volume', 'db')).toBeUndefined();
  });

  it('changes nothing when there is nothing new', async () => {
    const { store } = current();
    const made = await store.create(newVolume('db', { labels: { a: '1', b: '2' } }));
    const { labels } = made.metadata;
    const shuffled = {
      ...made,
      metadata: { ...made.metadata, labels: Object.fromEntries(Object.entries(labels).reverse()) },
    };
    expect(await store.update(shuffled)).toEqual(made);
    expect(await store.updateStatus({ ...made, status: { ...made.status, exclusiveBytes: undefined } })).toEqual(made);
    expect((await store.get('Volume', 'db')).metadata.resourceVersion).toBe(made.metadata.resourceVersion);
  });

  it('applies fifty concurrent changes of one object', async () => {
    const { store } = current();
    await store.create(newVolume('db'));
    const rounds = 50;
    // change() gives up after twenty lost races; whoever lost them all simply begins again.
    const persist = async (work: () => Promise<unknown>): Promise<void> => {
      await work().catch((error: AzekuraError) => (error.code === 'Conflict' ? persist(work) : Promise.reject(error)));
    };
    await Promise.all(
      Array.from({ length: rounds }, (_, index) =>
        persist(() =>
          change(store, 'Volume', 'db', ({ metadata, spec }) => ({
            metadata: { labels: { ...metadata.labels, [`w${index}`]: 'x' } },
            spec: { ...spec, sizeBytes: spec.sizeBytes + 1 },
          })),
        ),
      ),
    );
    const end = await store.get('Volume', 'db');
    expect(end.spec.sizeBytes).toBe(4096 + rounds);
    expect(Object.keys(end.metadata.labels)).toHaveLength(rounds);
    expect(end.metadata.generation).toBe(1 + rounds);
  });

  it('lets only one of many concurrent creators win', async () => {
    const attempts = await Promise.allSettled(
      Array.from({ length: 20 }, () => current().store.create(newVolume('db'))),
    );
    expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });
}
