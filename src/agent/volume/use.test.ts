import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Engine } from '../../engines/contract.ts';
import { engineDefinition } from '../../engines/registry.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Attachment } from '../../model/kinds.ts';
import { attachmentName, replicaName } from '../../model/names.ts';
import { change } from '../../store/change.ts';
import { AgentFixture } from '../fixture.ts';

const name = attachmentName('db', 'here');
const path = '/mnt/db';
let fixture: AgentFixture;
beforeEach(async () => {
  fixture = await AgentFixture.open();
  await fixture.addReadyReplica('db');
});
afterEach(() => fixture.close());

/** Writes and converges as a caller does that waits. */
async function use(write: () => Promise<unknown>) {
  const direct = fixture.agent.beginUse('db');
  try {
    await write();
    const written = (await fixture.store.find('Attachment', name)) as Attachment;
    return await direct?.converge(written);
  } finally {
    direct?.end();
  }
}

const publish = (...paths: string[]) =>
  change(fixture.store, 'Attachment', name, ({ spec }) => ({
    spec: { ...spec, published: paths.map((one) => ({ path: one, readOnly: false })) },
  }));
/** How often a pass has looked at the volume's copy. */
const looks = () => fixture.host.calls.filter(({ args }) => String(args[0]).endsWith('/db/snapshots')).length;
const attached = () => fixture.until('Attachment', name, (one) => one?.status.phase === 'Attached');

describe('direct use', () => {
  it('converges for the caller, and the watch has no news', async () => {
    const before = looks();
    expect(before).toBeGreaterThan(0);
    const made = await use(() => fixture.attach('db', { published: [] }));
    expect(made?.attachment?.status).toMatchObject({ phase: 'Attached', observedGeneration: 1, published: [] });
    const shown = await use(() => publish(path));
    expect(shown?.attachment?.status).toMatchObject({ observedGeneration: 2, published: [path] });
    expect(fixture.mountsBelow('/mnt')).toEqual([path]);
    const hidden = await use(() => publish());
    expect(hidden?.attachment?.status.published).toEqual([]);
    expect(await use(() => fixture.store.delete('Attachment', name))).toEqual({ attachment: undefined });
    expect(await fixture.store.find('Attachment', name)).toBeUndefined();
    expect(fixture.host.machine.loops.size).toBe(0);
    // Another volume's whole way over the watch: by then it would have told of this one.
    await fixture.addReadyReplica('wal');
    expect(looks()).toBe(before);
    const verbs = (await fixture.store.list('Task')).items
      .filter(({ spec }) => spec.subject.name === 'db')
      .map(({ spec }) => spec.verb);
    expect(verbs.sort()).toEqual(['AttachVolume', 'CreateVolume', 'DetachVolume', 'PublishVolume', 'PublishVolume']);
  });

  it('leaves to the queue what fails, and what is written without it', async () => {
    fixture.host.failNext('mount', new AzekuraError('HostFailure', 'injected'));
    expect(await use(() => fixture.attach('db', { published: [] }))).toBeUndefined();
    await attached();
    const direct = fixture.agent.beginUse('db');
    await publish(path);
    direct?.end();
    await fixture.until('Attachment', name, (one) => one?.status.published.length === 1);
  });

  it('takes the long way while something is due on the copy', async () => {
    fixture.host.failNext('truncate', new AzekuraError('HostFailure', 'injected'), { times: 1 });
    await change(fixture.store, 'Replica', replicaName('db', 0), ({ spec }) => ({
      spec: { ...spec, sizeBytes: 2 * spec.sizeBytes },
    }));
    expect(await use(() => fixture.attach('db', { published: [{ path }] }))).toBeUndefined();
    await attached();
    expect(fixture.mountsBelow('/mnt')).toEqual([path]);
  });

  it('sends at once what goes the long way, as with an engine that cannot glance: the caller waits for it', async () => {
    await fixture.stop();
    await fixture.start(undefined, (kind) => {
      const { create, ...definition } = engineDefinition(kind);
      const blind = ({ volumes: { glance: _, ...volumes }, ...engine }: Engine): Engine => ({ ...engine, volumes });
      return { ...definition, create: (deps) => blind(create(deps)) };
    });
    await fixture.attach('db', { published: [] });
    await attached();
    const direct = fixture.agent.beginUse('db');
    await publish(path);
    const written = (await fixture.store.find('Attachment', name)) as Attachment;
    expect(await direct?.converge(written)).toBeUndefined();
    await fixture.until('Attachment', name, (one) => one?.status.published.length === 1);
    direct?.end();
  });

  it('keeps what many callers have written, whatever passes run beside them', async () => {
    await use(() => fixture.attach('db', { published: [] }));
    const paths = Array.from({ length: 12 }, (_, index) => `${path}-${index}`);
    await Promise.all(
      paths.map((one, index) =>
        use(async () => {
          await change(fixture.store, 'Attachment', name, ({ spec }) => ({
            spec: { ...spec, published: [...spec.published, { path: one, readOnly: false }] },
          }));
          // An annotation of the copy has the whole volume looked at.
          await change(fixture.store, 'Replica', replicaName('db', 0), ({ metadata }) => ({
            metadata: { annotations: { ...metadata.annotations, [`test/${index}`]: 'yes' } },
          }));
        }),
      ),
    );
    await fixture.until('Attachment', name, (one) => one?.status.published.length === paths.length);
    expect([...fixture.mountsBelow('/mnt')].sort()).toEqual([...paths].sort());
  });
});
