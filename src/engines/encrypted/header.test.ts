import { beforeEach, describe, expect, it } from 'vitest';
import { FakeHost } from '../../host/fake.ts';
import { systemClock } from '../../lib/clock.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { silentLogger } from '../../lib/log.ts';
import { makeSteps } from '../../lib/steps.ts';
import type { Engine, EngineDefinition, PoolRef, VolumeIdentity, VolumeRef } from '../contract.ts';
import { fileEngine } from '../file/engine.ts';
import { encrypted } from './index.ts';

const common = { reservePercent: 5, acceptNoJournal: true, trial: false } as const;
const pool = (name: string): PoolRef => ({ name, source: { kind: 'directory', path: `/${name}` }, ...common });
const volume: VolumeRef = { pool: pool('here'), volumeId: 'v1' };
const moved: VolumeRef = { pool: pool('there'), volumeId: 'v1' };
const identity: VolumeIdentity = {
  name: 'db',
  uid: 'u',
  volumeId: 'v1',
  sizeBytes: 64 * 2 ** 20,
  className: 'sealed',
  mode: 'block',
  provisioning: 'thin',
  createdAt: '2026-01-01T00:00:00.000Z',
  generation: 1,
  encryption: { kind: 'luks2', layer: { headerBytes: 4 * 2 ** 20, state: 'ready' } },
};

/** An engine that has volumes where it is told so, and notes what is asked of it. */
class Below {
  readonly present = new Set<string>(['here']);
  readonly asked: string[] = [];
  readonly definition: EngineDefinition;

  constructor() {
    const where = (ref: VolumeRef) => ref.pool.name;
    const engine: Pick<Engine, 'volumes' | 'snapshots'> = {
      volumes: {
        create: async (request) => {
          this.present.add(where(request.volume));
          this.asked.push(`create ${where(request.volume)}`);
        },
        observe: async (ref) => ({
          present: this.present.has(where(ref)),
          recycled: false,
          sizeBytes: identity.sizeBytes,
          ...(this.present.has(where(ref)) ? { identity } : {}),
          snapshotIds: [],
          causes: [],
        }),
        attach: async (ref) => {
          this.asked.push(`attach ${where(ref)}`);
          return { device: '/dev/below', readOnly: true, layers: [], causes: [] };
        },
        detach: async (ref) => void this.asked.push(`detach ${where(ref)}`),
        companionFolder: async (ref) => `/${where(ref)}/companion`,
        usage: async () => ({ exclusiveBytes: 0, sharedBytes: 0 }),
        setIdentity: async () => {},
        expand: async () => {},
        delete: async () => {},
      },
      snapshots: {
        prepare: async () => {},
        cut: async () => {},
        commit: async () => {},
        abandon: async () => {},
        usage: async () => ({ exclusiveBytes: 0, sharedBytes: 0 }),
        delete: async () => {},
        observe: async () => ({ present: true, sizeBytes: identity.sizeBytes, causes: [] }),
        restore: async () => void this.asked.push('restore'),
      },
    };
    this.definition = { ...fileEngine, create: (deps) => ({ ...fileEngine.create(deps), ...engine }) };
  }
}

describe('the copy of a header', () => {
  let host: FakeHost;
  let below: Below;
  const engine = () =>
    encrypted(below.definition, { keysOf: async () => [{ file: '/key' }], discards: true }).create({
      host,
      clock: systemClock,
      log: silentLogger,
      steps: makeSteps(),
      locks: new KeyedLock(),
      nodeName: 'here',
      runtimeDir: '/run',
    });
  const file = (place: string) => `/${place}/companion/luks-header`;
  const backups = () =>
    host.calls
      .filter(({ call }) => call === 'exec')
      .map(({ args }) => args[0] as readonly string[])
      .filter((argv) => argv[1] === 'luksHeaderBackup')
      .map((argv) => `${argv.at(-1)} to ${argv[argv.indexOf('--header-backup-file') + 1]}`);

  beforeEach(async () => {
    host = new FakeHost();
    below = new Below();
    for (const place of ['here', 'there']) await host.kernel('t').makeDirectory(`/${place}/companion`, 0o755);
    host.onExec((argv) => {
      const at = argv.indexOf('--header-backup-file');
      if (at > 0) host.machine.file(argv[at + 1] ?? '', 'exec');
      return undefined;
    });
  });

  it('goes to another pool with its volume, and is left alone when it is there', async () => {
    await host.kernel('t').writeTextFile(file('here'), 'header');
    const request = { volume: moved, identity, parameters: {}, source: { kind: 'move', volume } } as const;
    await engine().volumes.create(request);
    expect(below.asked).toEqual(['create there']);
    expect(backups()).toEqual([`${file('here')} to ${file('there')}.new`]);
    expect(await host.kernel('t').stat(file('there'))).toBeDefined();
    await engine().volumes.create(request);
    expect(backups()).toHaveLength(1);
  });

  it('is made before a snapshot takes the place of the volume', async () => {
    await engine().snapshots?.restore?.({ ...volume, snapshotId: 's' });
    expect(below.asked).toEqual(['attach here', 'detach here', 'restore']);
    expect(backups()).toEqual([`/dev/below to ${file('here')}.new`]);
    await engine().snapshots?.restore?.({ ...volume, snapshotId: 's' });
    expect(below.asked.slice(3)).toEqual(['restore']);
  });

  it('keeps nobody from restoring or moving when it cannot be made', async () => {
    host.onExec((argv) => (argv[1] === 'luksHeaderBackup' ? { exitCode: 1, stderr: 'no space left' } : undefined));
    await engine().snapshots?.restore?.({ ...volume, snapshotId: 's' });
    expect(below.asked).toEqual(['attach here', 'detach here', 'restore']);
    await host.kernel('t').writeTextFile(file('here'), 'header');
    await engine().volumes.create({ volume: moved, identity, parameters: {}, source: { kind: 'move', volume } });
    expect(await host.kernel('t').stat(file('there'))).toBeUndefined();
  });
});
