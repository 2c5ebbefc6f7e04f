import type { Kind, Resource } from '../model/kinds.ts';
import type { Client, WatchEvent } from './client.ts';
import type { Roles } from './context.ts';
import type { Terminal } from './terminal.ts';

/** A terminal that keeps what was printed. */
export function fakeTerminal(options: { readonly isTty?: boolean; readonly answer?: string } = {}) {
  const printed = { out: '', err: '' };
  const terminal: Terminal = {
    out: (text) => {
      printed.out += text;
    },
    err: (text) => {
      printed.err += text;
    },
    outIsTty: options.isTty ?? false,
    errIsTty: options.isTty ?? false,
    columns: 100,
    ask: async () => options.answer,
  };
  return { terminal, printed };
}

/** Roles that must not be played. */
export const noRoles: Roles = {
  up: async () => 0,
  agent: async () => 0,
  controller: async () => 0,
  uninstall: async () => 0,
  rescueHost: async () => {
    throw new Error('no host in this test');
  },
  version: { version: '9.9.9', build: 'test' },
};

/** A client whose watch sends these events and then, unless told to end, nothing more. */
export function fakeWatchClient<K extends Kind>(events: readonly WatchEvent<K>[], { ends = false } = {}): Client {
  const unused = () => Promise.reject(new Error('not in this test'));
  return {
    call: unused,
    download: unused,
    get: unused as Client['get'],
    list: unused as Client['list'],
    async *watch(_kind, _query, signal) {
      for (const event of events) yield event as never;
      if (ends) return;
      await new Promise<never>((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
      );
    },
  };
}

/** A volume as the daemon shows it. */
export function volumeLike(name: string, status: Partial<Resource<'Volume'>['status']> = {}): Resource<'Volume'> {
  return {
    apiVersion: 'azekura.dev/v1',
    kind: 'Volume',
    metadata: {
      name,
      uid: 'u',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: '2026-01-01T00:00:00.000Z',
      finalizers: [],
      ownerReferences: [],
      labels: {},
      annotations: {},
    },
    spec: {
      sizeBytes: 2 ** 30,
      className: 'local-xfs',
      mode: 'filesystem',
      policy: {
        engine: 'file',
        replicas: 1,
        provisioning: 'thin',
        filesystem: 'xfs',
        mountOptions: [],
        encryption: 'none',
        shared: false,
        poolSelector: {},
        parameters: {},
      },
      recycleMs: 0,
    },
    status: {
      observedGeneration: 1,
      phase: 'Pending',
      sizeBytes: 0,
      replicas: [],
      attachedTo: [],
      causes: [],
      ...status,
    },
  };
}
