import { type Cause, worstCause } from '../model/cause.ts';
import { type CauseCode, causeCatalogue } from '../model/causes.ts';
import { AzekuraError, blamed, type ErrorCode } from '../model/errors.ts';
import type { Kind, Resource } from '../model/kinds.ts';
import type { Client, Query } from './client.ts';
import type { Context } from './context.ts';
import { followTasks } from './progress.ts';

/** A cause that blocks is believed when it has stood this long: many go by themselves with the next attempt. */
const graceMs = 3_000;

export interface Wait<K extends Kind> {
  readonly kind: K;
  readonly query: Query;
  /** Whether the objects that match are as they shall be. */
  readonly done: (objects: readonly Resource<K>[]) => boolean;
  /** What is waited for, for the message when time is up: "volume db to be ready". */
  readonly what: string;
  /** Whose tasks are shown while waiting. */
  readonly subject: string;
}

/** The query for exactly one object. */
export function named(name: string): Query {
  return { fieldSelector: `metadata.name=${name}` };
}

/**
 * Waits until the objects are as they shall be, by watching them. Does nothing with --no-wait.
 *
 * @returns the objects as they are then
 * @throws AzekuraError DeadlineExceeded when time is up; the code of a blocking cause that does not go away. What was
 * asked for goes on in both cases
 */
export async function waitFor<K extends Kind>(
  context: Context,
  client: Client,
  wait: Wait<K>,
): Promise<readonly Resource<K>[]> {
  if (!context.globals().wait) return [];
  const { timeoutMs } = context.globals();
  const stop = new AbortController();
  let failure: AzekuraError | undefined;
  const fail = (error: AzekuraError) => {
    failure ??= error;
    stop.abort();
  };
  const objects = new Map<string, Resource<K>>();
  const timer = setTimeout(() => fail(timeUp(wait.what, timeoutMs, [...objects.values()])), timeoutMs);
  let grace: NodeJS.Timeout | undefined;
  const progress = context.terminal.errIsTty
    ? followTasks(client, wait.subject, context.terminal, stop.signal)
    : undefined;
  try {
    let synced = false;
    for await (const event of client.watch(wait.kind, wait.query, stop.signal)) {
      if (event.type === 'SYNCED') synced = true;
      if (event.object && event.type === 'DELETED') objects.delete(event.object.metadata.name);
      else if (event.object) objects.set(event.object.metadata.name, event.object);
      if (!synced) continue;
      if (wait.done([...objects.values()])) return [...objects.values()];
      const cause = blockingCause([...objects.values()]);
      if (!cause) {
        clearTimeout(grace);
        grace = undefined;
      } else
        grace ??= setTimeout(
          () => fail(blamed(codeOf(cause.code), blockingCause([...objects.values()]) ?? cause)),
          graceMs,
        );
    }
    throw (
      failure ??
      new AzekuraError('Unavailable', 'the daemon stopped while the command waited', {
        next: 'start it again; it goes on with what was asked for',
      })
    );
  } catch (error) {
    throw failure ?? error;
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    stop.abort();
    await progress;
  }
}

function timeUp(what: string, timeoutMs: number, objects: readonly Resource[]): AzekuraError {
  const cause = worstCause(objects.flatMap(causesOf));
  return new AzekuraError(
    'DeadlineExceeded',
    `waited ${Math.round(timeoutMs / 1_000)} s for ${what}${cause ? `: ${cause.message}` : ''}`,
    {
      next: cause?.nextStep ?? 'it goes on by itself; look with `azekura status`, or wait longer with --timeout',
      ...(cause ? { blame: cause } : {}),
    },
  );
}

function causesOf(object: Resource): readonly Cause[] {
  return 'causes' in object.status ? object.status.causes : [];
}

function blockingCause(objects: readonly Resource[]): Cause | undefined {
  return worstCause(objects.flatMap(causesOf).filter((cause) => causeCatalogue[cause.code].severity === 'blocking'));
}

/** The error that a blocking cause amounts to, as operations would have answered had they known. */
export function codeOf(cause: CauseCode): ErrorCode {
  switch (cause) {
    case 'PoolFull':
    case 'PoolHostFull':
    case 'PoolNotFound':
    case 'NoLoopDevices':
      return 'ResourceExhausted';
    case 'ClassNotFound':
    case 'SourceNotFound':
    case 'SnapshotSourceGone':
      return 'NotFound';
    case 'HungCall':
      return 'Unavailable';
    case 'PermissionMissing':
      return 'PermissionDenied';
    case 'ToolMissing':
    case 'StepFailed':
    case 'MountFailed':
      return 'HostFailure';
    case 'IdentityDamaged':
    case 'PoolIdentityDamaged':
    case 'BackingMissing':
      return 'DataLoss';
    default:
      return 'FailedPrecondition';
  }
}
