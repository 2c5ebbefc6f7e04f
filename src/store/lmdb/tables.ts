import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { AzekuraError } from '../../model/errors.ts';
import type { Table, Tables } from './layout.ts';
import { formatVersion, type Migration, migrations } from './migrations.ts';
import { problemOfFile } from './preflight.ts';

export interface OpenTablesOptions {
  /** A folder; made when it is missing. */
  readonly path: string;
  /** Name and version of the program, kept in the format record. */
  readonly writtenBy: string;
  /** Replaced by tests. */
  readonly migrations?: readonly Migration[];
}

/** All keys that begin with the prefix, which must end in "/": "0" is the character after it. */
export function under(prefix: string): { start: string; end: string } {
  return { start: prefix, end: `${prefix.slice(0, -1)}0` };
}

/**
 * Opens the tables and brings them to the present format.
 *
 * @throws AzekuraError DataLoss when a newer version wrote them (then nothing is written) or they cannot be read
 */
export function openTables({ path, writtenBy, migrations: steps = migrations }: OpenTablesOptions): Tables {
  const folder = resolve(path);
  const problem = problemOfFile(join(folder, 'data.mdb'));
  if (problem !== undefined) throw unreadable(folder, problem);
  const isNew = !existsSync(join(folder, 'data.mdb'));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  let root: RootDatabase<string, string>;
  try {
    root = open<string, string>({
      path: folder,
      noSubdir: false,
      encoding: 'string',
      // With overlappingSync, lmdb's default, a transaction can be seen and its promise resolves before it is flushed.
      // Without, mdb_txn_commit() itself writes the pages, calls fdatasync(), and writes the meta page through a
      // descriptor opened with O_DSYNC; only then others see it and the promise resolves.
      overlappingSync: false,
      // CommitQueue batches. The library's own batching makes a promise that nobody can reach; when a commit fails, its
      // unhandled rejection would end the process.
      eventTurnBatching: false,
      maxDbs: 8,
      maxReaders: 32,
    });
  } catch (error) {
    throw unreadable(folder, error);
  }
  try {
    const found = readFormatVersion(root, folder);
    if (found > formatVersion) {
      throw new AzekuraError(
        'DataLoss',
        `the state in ${folder} was written by a newer version of azekura (format ${found}; this one knows ${formatVersion})`,
        { next: 'start the newer version again; nothing was changed', details: { found, known: formatVersion } },
      );
    }
    const table = (name: string): Table => root.openDB<string, string>({ name, encoding: 'string' });
    const tables: Tables = {
      root,
      meta: table('meta'),
      objects: table('objects'),
      events: table('events'),
      undo: table('undo'),
      owners: table('owners'),
    };
    if (found < formatVersion) migrate(tables, found, steps, writtenBy);
    if (isNew) syncFolders(folder);
    return tables;
  } catch (error) {
    void root.close();
    throw error instanceof AzekuraError ? error : unreadable(folder, error);
  }
}

/** 0 for a store without a format record: a new one, or one from before there was a record. */
function readFormatVersion(root: RootDatabase<string, string>, folder: string): number {
  // The types know neither `create` nor that the answer is undefined for a table that is missing. Without `create: false`
  // looking would already write.
  const options = { name: 'meta', encoding: 'string' as const, create: false };
  const meta = root.openDB<string, string>(options) as Table | undefined;
  const record = meta?.get('format');
  if (record === undefined) return 0;
  const version: unknown = JSON.parse(record)?.formatVersion;
  if (typeof version === 'number' && Number.isInteger(version) && version > 0) return version;
  throw new AzekuraError('DataLoss', `the state in ${folder} has a format record that cannot be read: ${record}`, {
    next: 'restore the folder from a copy, or start with a new one and find volumes by `azekura rescue`',
  });
}

function migrate(tables: Tables, from: number, steps: readonly Migration[], writtenBy: string): void {
  tables.root.transactionSync(() => {
    for (const step of steps.slice(from)) step(tables);
    tables.meta.putSync('format', JSON.stringify({ formatVersion, writtenBy }));
  });
}

function unreadable(folder: string, error: unknown): AzekuraError {
  const problem = error instanceof Error ? error.message : String(error);
  return new AzekuraError('DataLoss', `the state in ${folder} cannot be opened: ${problem}`, {
    next: 'restore the folder from a copy, or start with a new one and find volumes by `azekura rescue`',
    cause: error,
  });
}

/** fdatasync() of a file does not make its name durable, nor the names of the folders above, which may be new too. */
function syncFolders(folder: string): void {
  for (let path = folder; ; path = dirname(path)) {
    try {
      const descriptor = openSync(path, 'r');
      try {
        fsyncSync(descriptor);
      } finally {
        closeSync(descriptor);
      }
    } catch (error) {
      // A folder that we may not even read is not one that we made.
      if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    }
    if (path === dirname(path)) return;
  }
}
