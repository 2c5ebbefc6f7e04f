import { Command, CommanderError } from 'commander';
import { parseDurationMs } from '../lib/duration.ts';
import { AzekuraError, errorCatalogue } from '../model/errors.ts';
import type { Context, Roles } from './context.ts';
import { printFailure } from './failure.ts';
import { type Group, groupOf, groups } from './groups.ts';
import { examples } from './help.ts';
import { type GlobalOptions, parseFormat } from './options.ts';
import type { Terminal } from './terminal.ts';

/** Where an instance lies unless --data-dir or AZEKURA_DATA_DIR says otherwise. */
export const defaultDataDir = '/var/lib/azekura';

export interface CliDeps {
  readonly roles: Roles;
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  nowMs(): number;
}

/**
 * Runs one command line.
 *
 * @param args without the names of node and script
 * @returns the exit code, as in docs/errors.md
 */
export async function runCli(args: readonly string[], deps: CliDeps): Promise<number> {
  const { terminal } = deps;
  let exitCode = 0;
  const program = makeProgram(deps);
  const registered = new Set<Group>();
  const register = async (group: Group | undefined) => {
    const command = program.commands.find((each) => each.name() === group?.name);
    if (!group || !command || registered.has(group)) return;
    registered.add(group);
    (await group.load()).register(command, context);
  };
  const context: Context = {
    ...deps,
    ...lateOptions(program, deps),
    setExitCode: (code) => {
      exitCode = code;
    },
    program: async (words) => {
      await register(groupOf(words));
      return program;
    },
  };
  for (const group of groups) {
    const command = program
      .command(group.name)
      .summary(group.summary)
      .description(`${group.summary[0]?.toUpperCase() ?? ''}${group.summary.slice(1)}.`);
    for (const alias of group.aliases ?? []) command.alias(alias);
  }
  // Before the first request: a typing error in an option must not become known after the work is done.
  program.hook('preAction', (_program, action) => {
    context.globals();
    // There, -o names a file.
    if (action.name() !== 'support-bundle') context.format();
  });
  const chosen = groupOf(args);
  await register(chosen);
  try {
    if (args.length === 0) program.help({ error: true });
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.code === 'commander.help') return errorCatalogue.InvalidArgument.exit;
      if (error.exitCode === 0) return 0;
      return printFailure(usageError(error, chosen?.name), terminal, outputWord(args));
    }
    return printFailure(error, terminal, outputWord(args));
  }
}

function makeProgram({ roles, terminal }: CliDeps): Command {
  const program = new Command('azekura')
    .description('Turns the disks of ordinary machines into one self-healing store.')
    .version(roles.version.version, '-V, --version', 'print the version')
    .option('--data-dir <dir>', `folder of the instance (AZEKURA_DATA_DIR; ${defaultDataDir})`)
    .option('--server <url>', 'a daemon elsewhere, with --token-file')
    .option('--token-file <file>', 'file with the bearer token')
    .option('-o, --output <format>', 'table, wide, json, yaml or name')
    .option('--timeout <duration>', 'how long to wait, for example 90s', '2m')
    .option('--wait', 'wait until it is done', true)
    .option('--no-wait', 'return as soon as it is accepted')
    .option('--dry-run', 'change nothing; tell what would be done, where and why')
    .option('--no-color', 'no colours')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help')
    .configureHelp({ showGlobalOptions: true, helpWidth: Math.min(terminal.columns, 120) })
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(text),
      outputError: () => {},
    })
    .showSuggestionAfterError(true)
    .exitOverride();
  return examples(program, [
    'up',
    'status',
    'volume create db --size 10Gi',
    'volume mount db /mnt/db',
    'volume list -o json',
    'why db',
    'volume create --help',
  ]);
}

/** Options are read when a command asks, since they may stand before or after its own. */
function lateOptions(program: Command, { env, terminal }: CliDeps): Pick<Context, 'globals' | 'format' | 'client'> {
  const globals = (): GlobalOptions => {
    const raw = program.opts<{
      dataDir?: string;
      server?: string;
      tokenFile?: string;
      output?: string;
      timeout: string;
      wait: boolean;
      dryRun?: boolean;
      color: boolean;
    }>();
    return {
      dataDir: absolute(raw.dataDir ?? env.AZEKURA_DATA_DIR ?? defaultDataDir),
      ...(raw.server === undefined ? {} : { server: raw.server }),
      ...(raw.tokenFile === undefined ? {} : { tokenFile: raw.tokenFile }),
      ...(raw.output === undefined ? {} : { output: raw.output }),
      color: raw.color && terminal.outIsTty && !env.NO_COLOR,
      timeoutMs: timeoutOf(raw.timeout),
      wait: raw.wait,
      dryRun: raw.dryRun ?? false,
    };
  };
  return {
    globals,
    format: () => parseFormat(globals().output),
    client: async () => (await import('./client.ts')).createClient(globals()),
  };
}

/** Read here and not by arguments.ts, whose schemas would double the time that `azekura --version` takes. */
function timeoutOf(text: string): number {
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms > 0 && ms < 2 ** 31) return ms;
  throw new AzekuraError('InvalidArgument', `--timeout "${text}" is not a duration`, {
    next: 'write for example 90s or 15m',
  });
}

function absolute(path: string): string {
  if (path === '') throw new AzekuraError('InvalidArgument', 'the data folder must not be empty');
  const full = path.startsWith('/') ? path : `${process.cwd()}/${path}`;
  // Two spellings of one folder must mean one socket and one lock.
  return full.replaceAll(/\/+(\.\/+)*/g, '/').replace(/(?<=.)\/+\.?$/, '');
}

/** Commander's own complaint as one of our errors. */
function usageError(error: CommanderError, group: string | undefined): AzekuraError {
  return new AzekuraError('InvalidArgument', error.message.replace(/^error: /, '').replaceAll('\n', ' '), {
    next: `see \`azekura ${group ? `${group} ` : ''}--help\``,
  });
}

/** The wanted output format, also when the command line could not be parsed to its end. */
function outputWord(args: readonly string[]): string | undefined {
  const index = args.findIndex((word) => word === '-o' || word === '--output');
  return index >= 0
    ? args[index + 1]
    : args.find((word) => /^(-o|--output=)/.test(word))?.replace(/^(--output=|-o=?)/, '');
}
