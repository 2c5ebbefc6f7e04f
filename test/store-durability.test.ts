import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../src/lib/clock.ts';
import type { Kind } from '../src/model/kinds.ts';
import { refusal } from '../src/store/contract-helpers.ts';
import { openLmdbStore } from '../src/store/lmdb/lmdb-store.ts';
import type { Store } from '../src/store/store.ts';

const kills = 36;
const writers = 8;
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'azekura-durability-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Starts the writer and kills it with SIGKILL. @returns the last acknowledged step of each writer */
async function writeAndKill(path: string, round: number): Promise<Map<string, number>> {
  const argv = ['--import', tsx, join(import.meta.dirname, 'store-writer.ts'), path, String(writers)];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  let isArmed = false;
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const end = new Promise<NodeJS.Signals | null>((resolve) => child.on('close', (_, signal) => resolve(signal)));
  const arm = (delayMs: number) => setTimeout(() => child.kill('SIGKILL'), delayMs);
  // Every sixth round aims at the opening of the store, the others at writing.
  if (round % 6 === 5) arm(150 + Math.random() * 500);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (isArmed || !output.includes('open')) return;
    isArmed = true;
    arm(Math.random() * 300);
  });
  expect(await end, errors).toBe('SIGKILL');
  const acknowledged = new Map<string, number>();
  // A last line without its end was printed in part; it is a smaller number, so it must not count.
  for (const line of output.split('\n').slice(0, -1)) {
    const [name, step] = line.split(' ');
    if (name && step) acknowledged.set(name, Number(step));
  }
  return acknowledged;
}

/** Object versions by name, from a list and from a watch that begins with everything. */
async function bothViews(store: Store, kind: Kind) {
  const listed = new Map(
    (await store.list(kind)).items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]),
  );
  const watched = new Map<string, string>();
  for await (const event of store.watch(kind)) {
    if (!('object' in event)) break;
    watched.set(event.object.metadata.name, event.object.metadata.resourceVersion);
  }
  return { listed, watched };
}

describe('durability of the LMDB store', () => {
  it(`keeps every acknowledged write over ${kills} times kill -9`, { timeout: 900_000 }, async () => {
    const path = join(folder, 'state');
    const counted = new Map<string, number>();
    let replayed = new Map<string, string>();
    let version: string | undefined;
    let total = 0;
    for (let round = 0; round < kills; round++) {
      const acknowledged = await writeAndKill(path, round);
      for (const [name, step] of acknowledged) counted.set(name, step);

      const store = await openLmdbStore({ path, clock: systemClock, historyLimit: 200_000 });
      const snapshots = new Set((await store.list('Snapshot')).items.map(({ metadata }) => metadata.name));
      for (const [name, step] of counted) {
        const present = (await store.get('Volume', name)).status.exclusiveBytes ?? 0;
        // One more may have been stored whose acknowledgement was not printed.
        expect(present).toBeGreaterThanOrEqual(step);
        expect(present).toBeLessThanOrEqual(step + 1);
        for (let made = Math.max(1, step - 3); made <= step; made++) expect(snapshots).toContain(`${name}-${made}`);
        for (let gone = Math.max(1, step - 20); gone <= step - 5; gone++)
          expect(snapshots).not.toContain(`${name}-${gone}`);
        counted.set(name, present);
      }

      for (const kind of ['Volume', 'Snapshot'] as const) {
        const { listed, watched } = await bothViews(store, kind);
        expect(watched).toEqual(listed);
        if (kind === 'Volume') {
          // What the history says happened since the last round leads from the last state to this one.
          const marker = await store.create({ kind, metadata: { name: `marker-${round}` }, spec: { sizeBytes: 1 } });
          if (version !== undefined) {
            for await (const event of store.watch(kind, { from: version })) {
              if (!('object' in event)) continue;
              replayed.set(event.object.metadata.name, event.object.metadata.resourceVersion);
              if (event.object.metadata.uid === marker.metadata.uid) break;
            }
            expect(replayed).toEqual((await bothViews(store, kind)).listed);
          }
          replayed = (await bothViews(store, kind)).listed;
          version = (await store.list(kind)).resourceVersion;
        }
      }
      await store.close();
    }
    for (const step of counted.values()) total += step;
    expect(counted.size).toBe(writers);
    // Guards against a test that kills before anything was written.
    expect(total).toBeGreaterThan(kills * writers);
  });

  const isRoot = process.getuid?.() === 0;
  it.skipIf(!isRoot)(
    `asks the disk to flush for each acknowledgement, and once for many together${isRoot ? '' : ' (needs root)'}`,
    async () => {
      const image = join(folder, 'disk.img');
      const mountPoint = join(folder, 'mnt');
      execFileSync('truncate', ['-s', '64M', image]);
      execFileSync('mkfs.ext4', ['-q', image]);
      execFileSync('mkdir', [mountPoint]);
      const device = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8' }).trim();
      try {
        execFileSync('mount', [device, mountPoint]);
        try {
          // Field 16 of /sys/block/<device>/stat counts flush requests (Documentation/block/stat.rst).
          const flushes = () =>
            Number(
              readFileSync(`/sys/block/${basename(device)}/stat`, 'utf8')
                .trim()
                .split(/\s+/)[15],
            );
          const store = await openLmdbStore({ path: join(mountPoint, 'state'), clock: systemClock });
          const create = (name: string) =>
            store.create({ kind: 'Volume', metadata: { name }, spec: { sizeBytes: 4096 } });

          try {
            const idle = flushes();
            writeFileSync(join(mountPoint, 'unflushed'), 'x');
            expect(flushes()).toBe(idle);
            for (let count = 0; count < 20; count++) {
              const before = flushes();
              await create(`single${count}`);
              expect(flushes()).toBeGreaterThan(before);
            }
            const before = flushes();
            await Promise.all(Array.from({ length: 64 }, (_, index) => create(`together${index}`)));
            const shared = flushes() - before;
            expect(shared).toBeGreaterThan(0);
            expect(shared).toBeLessThan(32);
          } finally {
            await store.close();
          }
        } finally {
          execFileSync('umount', [mountPoint]);
        }
      } finally {
        execFileSync('losetup', ['--detach', device]);
      }
    },
  );

  it.skipIf(!isRoot)(
    `says so when the disk is full, loses nothing, and goes on when there is room${isRoot ? '' : ' (needs root)'}`,
    async () => {
      const mountPoint = join(folder, 'small');
      execFileSync('mkdir', [mountPoint]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', mountPoint]);
      const path = join(mountPoint, 'state');
      const open = () => openLmdbStore({ path, clock: systemClock });
      let store = await open();
      try {
        writeFileSync(join(mountPoint, 'ballast'), Buffer.alloc(1_200_000));
        const annotations = { note: 'x'.repeat(4_000) };
        const create = (name: string) =>
          store.create({ kind: 'Volume', metadata: { name, annotations }, spec: { sizeBytes: 1 } });
        const made: string[] = [];
        const fill = async () => {
          for (;;) made.push((await create(`v${made.length}`)).metadata.name);
        };
        expect((await refusal(fill())).code).toBe('ResourceExhausted');
        expect(made.length).toBeGreaterThan(0);
        const names = async () => (await store.list('Volume')).items.map(({ metadata }) => metadata.name).sort();
        expect(await names()).toEqual([...made].sort());
        rmSync(join(mountPoint, 'ballast'));
        await create('after');
        await store.close();
        store = await open();
        expect(await names()).toEqual([...made, 'after'].sort());
      } finally {
        await store.close();
        execFileSync('umount', [mountPoint]);
      }
    },
  );
});
