import type { Command } from 'commander';
import type { Context } from './context.ts';

/** A group of verbs: what the top-level help shows, and where the rest is. */
export interface Group {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly summary: string;
  readonly load: () => Promise<{ register(command: Command, context: Context): void }>;
}

/** All groups in the order of the help. A new one is a file in commands/ and one entry here. */
export const groups: readonly Group[] = [
  { name: 'up', summary: 'run Azekura on this machine, in the foreground', load: () => import('./commands/up.ts') },
  {
    name: 'agent',
    summary: 'run the agent of a Kubernetes node, in the foreground',
    load: () => import('./commands/agent.ts'),
  },
  {
    name: 'controller',
    summary: 'run a controller of a Kubernetes cluster, in the foreground',
    load: () => import('./commands/controller.ts'),
  },
  {
    name: 'status',
    summary: 'pools, volumes, tasks, and what is not well',
    load: () => import('./commands/status.ts'),
  },
  {
    name: 'volume',
    aliases: ['vol', 'volumes'],
    summary: 'make, use, grow and delete volumes',
    load: () => import('./commands/volume.ts'),
  },
  {
    name: 'snapshot',
    aliases: ['snap', 'snapshots'],
    summary: 'take, list, restore and delete snapshots',
    load: () => import('./commands/snapshot.ts'),
  },
  {
    name: 'pool',
    aliases: ['pools'],
    summary: 'add, look at, drain and remove pools',
    load: () => import('./commands/pool.ts'),
  },
  {
    name: 'class',
    aliases: ['classes'],
    summary: 'named policies of volumes',
    load: () => import('./commands/class.ts'),
  },
  { name: 'node', aliases: ['nodes'], summary: 'machines', load: () => import('./commands/node.ts') },
  {
    name: 'task',
    aliases: ['tasks'],
    summary: 'what was done and is being done',
    load: () => import('./commands/task.ts'),
  },
  {
    name: 'why',
    summary: 'the one cause that keeps an object from being well',
    load: () => import('./commands/why.ts'),
  },
  {
    name: 'rescue',
    summary: 'read volumes without a daemon, only from the disk',
    load: () => import('./commands/rescue.ts'),
  },
  {
    name: 'support-bundle',
    summary: 'gather what a bug report needs, without secrets',
    load: () => import('./commands/support-bundle.ts'),
  },
  { name: 'completion', summary: 'completion for bash, zsh and fish', load: () => import('./commands/completion.ts') },
  { name: 'version', summary: 'version of the command and of the daemon', load: () => import('./commands/version.ts') },
  {
    name: 'uninstall',
    summary: 'take Azekura off this machine; keeps data unless told otherwise',
    load: () => import('./commands/uninstall.ts'),
  },
];

/** The group of this name or alias. */
export function findGroup(word: string): Group | undefined {
  return groups.find((group) => group.name === word || group.aliases?.includes(word));
}

/** Global options that take a value, so that the value is not taken for the group. */
const withValue = new Set(['-o', '--output', '--data-dir', '--server', '--token-file', '--timeout']);

/** The group that a command line names: its first word that is neither an option nor an option's value. */
export function groupOf(args: readonly string[]): Group | undefined {
  for (let index = 0; index < args.length; index++) {
    const word = args[index] ?? '';
    if (withValue.has(word)) index++;
    else if (word === 'help') continue;
    else if (!word.startsWith('-')) return findGroup(word);
  }
  return undefined;
}
