import { describe, expect, it } from 'vitest';
import type { NewResource } from '../model/kinds.ts';
import { change, changeStatus } from './change.ts';
import { type Current, eventually, namesByPage, newVolume, refusal } from './contract-helpers.ts';
import type { Fields, Store } from './store.ts';

const newTask = (name: string, verb: string, nodeName?: string): NewResource<'Task'> => ({
  kind: 'Task',
  metadata: { name },
  spec: { verb, subject: { kind: 'Volume', name: 'db' }, ...(nodeName === undefined ? {} : { nodeName }) },
});

/** The rules of selecting by fields, in lists and watches. */
export function describeFields(current: Current): void {
  const namesOf = async (store: Store, fields: Fields) =>
    (await store.list('Task', { fields })).items.map(({ metadata }) => metadata.name);

  describe('fields', () => {
    it('select in lists: all must be equal, absent is empty', async () => {
      const { store } = current();
      await store.create(newTask('a', 'CreateVolume', 'n1.example'));
      await store.create(newTask('b', 'CreateVolume', 'n2.example'));
      await store.create(newTask('c', 'CutSnapshot', 'n1.example'));
      await store.create(newTask('d', 'DrainPool'));
      expect(await namesOf(store, { 'spec.nodeName': 'n1.example' })).toEqual(['a', 'c']);
      expect(await namesOf(store, { 'spec.nodeName': 'n1.example', 'spec.verb': 'CutSnapshot' })).toEqual(['c']);
      expect(await namesOf(store, { 'spec.nodeName': '' })).toEqual(['d']);
      expect(await namesOf(store, { 'metadata.name': 'b' })).toEqual(['b']);
      expect(await namesOf(store, { 'metadata.name': 'b', 'spec.verb': 'DrainPool' })).toEqual([]);
      expect(await namesOf(store, {})).toEqual(['a', 'b', 'c', 'd']);
    });

    it('select values with any characters', async () => {
      const { store } = current();
      await store.create(newVolume('odd'));
      await store.create(newVolume('plain'));
      const volumeId = 'x,y=z\\';
      await changeStatus(store, 'Volume', 'odd', () => ({ volumeId }));
      const { items } = await store.list('Volume', { fields: { 'status.volumeId': volumeId } });
      expect(items.map(({ metadata }) => metadata.name)).toEqual(['odd']);
    });

    it('select page by page', async () => {
      const { store } = current();
      for (let index = 0; index < 9; index++) await store.create(newTask(`t${index}`, 'X', `n${index % 2}`));
      const names = await namesByPage(store, 'Task', { fields: { 'spec.nodeName': 'n0' }, limit: 2 });
      expect(names).toEqual(['t0', 't2', 't4', 't6', 't8']);
    });

    it('that are not selectable are refused by name', async () => {
      const { store } = current();
      const list = await refusal(store.list('Volume', { fields: { 'spec.sizeBytes': '1' } }));
      expect(list).toMatchObject({ code: 'InvalidArgument', message: expect.stringContaining('spec.sizeBytes') });
      const watch = store.watch('Class', { fields: { 'spec.engine': 'file' } })[Symbol.asyncIterator]();
      expect((await refusal(watch.next())).code).toBe('InvalidArgument');
    });

    it('select in watches: who comes into the selection is added to it, who leaves it is deleted', async () => {
      const { store } = current();
      await store.create(newVolume('in'));
      await store.create(newVolume('out'));
      const move = (name: string, poolName: string) =>
        change(store, 'Volume', name, ({ spec }) => ({ spec: { ...spec, poolName } }));
      await move('in', 'here');
      const { resourceVersion: from } = await store.list('Volume');
      const fields = { 'spec.poolName': 'here' };
      const abort = new AbortController();
      const stories = [undefined, from].map((start) => {
        const story: string[] = [];
        const ended = (async () => {
          const options = { fields, signal: abort.signal, ...(start === undefined ? {} : { from: start }) };
          for await (const event of store.watch('Volume', options)) {
            if ('object' in event)
              story.push(`${event.type} ${event.object.metadata.name} ${event.object.spec.sizeBytes}`);
          }
        })();
        return { story, ended };
      });
      await eventually(async () => expect(stories[0]?.story).toHaveLength(1));
      const resize = (name: string, sizeBytes: number) =>
        change(store, 'Volume', name, ({ spec }) => ({ spec: { ...spec, sizeBytes } }));
      await resize('out', 1);
      await move('out', 'here');
      await resize('out', 2);
      await move('out', 'there');
      await resize('out', 3);
      await store.delete('Volume', 'out');
      await store.delete('Volume', 'in');
      const told = ['added out 1', 'modified out 2', 'deleted out 2', 'deleted in 4096'];
      await eventually(async () => expect(stories[0]?.story).toEqual(['added in 4096', ...told]));
      await eventually(async () => expect(stories[1]?.story).toEqual(told));
      abort.abort();
      for (const { ended } of stories) await ended;
    });
  });

  it('takes names of nodes with dots, and of nothing else', async () => {
    const { store } = current();
    const name = 'worker-1.rack-2.example.com';
    await store.create({ kind: 'Node', metadata: { name }, spec: {} });
    expect((await store.get('Node', name)).metadata.name).toBe(name);
    await store.create({ kind: 'Node', metadata: { name: 'worker-1' }, spec: {} });
    expect(await namesByPage(store, 'Node', { limit: 1 })).toEqual(['worker-1', name]);
    const longest = Array.from({ length: 4 }, () => 'a'.repeat(63))
      .join('.')
      .slice(0, 253);
    await store.create({ kind: 'Node', metadata: { name: longest }, spec: {} });
    for (const wrong of [`${longest}a`, 'a..b', 'a.', '.a', 'A.b'])
      expect((await refusal(store.create({ kind: 'Node', metadata: { name: wrong }, spec: {} }))).code).toBe(
        'InvalidArgument',
      );
    expect((await refusal(store.create(newVolume('a.b')))).code).toBe('InvalidArgument');
  });
}
