import type { Command, Option } from 'commander';
import type { Kind } from '../model/kinds.ts';
import { outputFormats } from './options.ts';

/** What can stand at a place of the command line: fixed words, or the names of the objects of a kind. */
export interface Candidates {
  readonly words: readonly string[];
  readonly kind?: Kind;
}

const nothing: Candidates = { words: [] };

/** Kinds that a group's `<name>` arguments name. */
const kindOfGroup: Readonly<Record<string, Kind>> = {
  volume: 'Volume',
  snapshot: 'Snapshot',
  pool: 'Pool',
  class: 'Class',
  node: 'Node',
  task: 'Task',
  why: 'Volume',
};
const kindOfVerb: Readonly<Record<string, Kind>> = {
  'volume undelete': 'RecycledVolume',
  'volume purge': 'RecycledVolume',
  'snapshot create': 'Volume',
};
const kindOfArgument: Readonly<Record<string, Kind>> = { snapshot: 'Snapshot' };
/** Verbs whose name is a new one, which nothing can complete. */
const newNames = new Set(['volume create', 'pool add', 'class create']);
const optionKinds: Readonly<Record<string, Kind>> = {
  '--class': 'Class',
  '--pool': 'Pool',
  '--from-snapshot': 'Snapshot',
  '--from-volume': 'Volume',
  '--volume': 'Volume',
};
const optionWords: Readonly<Record<string, readonly string[]>> = {
  '--output': outputFormats,
  '--filesystem': ['xfs', 'ext4'],
  '--log-level': ['debug', 'info', 'warn', 'error'],
};

/**
 * What may stand as the last word.
 *
 * @param program the top-level command, with the verbs of the group in question registered
 * @param words all words after `azekura`; the last is the one being typed, perhaps empty
 */
export function candidatesFor(program: Command, words: readonly string[]): Candidates {
  let command = program;
  let operands: string[] = [];
  let pending: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (pending) pending = undefined;
    else if (word.startsWith('-')) pending = valueOption(command, word);
    else {
      const next = command.commands.find((each) => each.name() === word || each.aliases().includes(word));
      if (next) command = next;
      else operands = [...operands, word];
    }
  }
  const typed = words.at(-1) ?? '';
  if (pending) return optionValue(pending);
  if (typed.startsWith('-'))
    return {
      words: ancestors(command).flatMap((each) => each.options.flatMap((option) => option.long ?? option.short ?? [])),
    };
  const verbs = command
    .createHelp()
    .visibleCommands(command)
    .map((each) => each.name());
  if (verbs.length > 0) return { words: verbs };
  return argumentCandidates(command, operands.length);
}

function argumentCandidates(command: Command, index: number): Candidates {
  const path = ancestors(command)
    .slice(0, -1)
    .reverse()
    .map((each) => each.name());
  const argument = command.registeredArguments[index] ?? command.registeredArguments.findLast((each) => each.variadic);
  const verb = path.join(' ');
  if (verb === 'completion') return { words: ['bash', 'zsh', 'fish'] };
  if (!argument || newNames.has(verb)) return nothing;
  const kind =
    argument.name() === 'name' || argument.name() === 'names' || argument.name() === 'object'
      ? (kindOfVerb[verb] ?? kindOfGroup[path[0] ?? ''])
      : kindOfArgument[argument.name()];
  return kind ? { words: [], kind } : nothing;
}

function optionValue(option: Option): Candidates {
  const long = option.long ?? '';
  const kind = optionKinds[long];
  return { words: optionWords[long] ?? [], ...(kind ? { kind } : {}) };
}

/** The option of this name, when it takes a value that is not yet in the word. */
function valueOption(command: Command, word: string): Option | undefined {
  const option = ancestors(command)
    .flatMap((each) => each.options)
    .find((each) => each.long === word || each.short === word);
  return option?.required || option?.optional ? option : undefined;
}

/** The command and all above it. */
function ancestors(command: Command): Command[] {
  return command.parent ? [command, ...ancestors(command.parent)] : [command];
}
