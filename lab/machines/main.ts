/** `npm run lab -- VERB …` for machines: the command line over lab.ts. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { machineFiles } from './build/build.ts';
import { LabError } from './error.ts';
import { hasLife, LabFolder, labNames } from './folder.ts';
import { Lab, takeDown } from './lab.ts';
import { addDiskVerbs } from './main-disk.ts';
import { describeLab, type Output, type Printed, print } from './output.ts';

const help = `
N is the number of a machine. LAB_NAME names the lab (default "lab"); labs of different names do not meet.

Examples:
  npm run lab -- up 3 --disks 4G 4G          three machines, each with /dev/ubda and /dev/ubdb
  npm run lab -- exec 1 -- lsblk -o NAME,SIZE
  npm run lab -- exec 1                      a shell
  npm run lab -- exec 2 -- azekura version   the checkout runs inside
  npm run lab -- power-cut 1                 kill -9 of the machine; its disks stay
  npm run lab -- boot 1
  npm run lab -- partition 1 2               1 and 2 cannot reach each other over the storage network
  npm run lab -- heal
  npm run lab -- disk add 1 2G --controlled  a disk that can misbehave, /dev/nbd0
  npm run lab -- disk fail 1 nbd0            every request gets an I/O error
  npm run lab -- status -o json
  npm run lab -- down

npm run lab -- kubernetes --help says what there is for Kubernetes.`;

/** What a verb does gets the lab that LAB_NAME names. */
export interface VerbContext {
  readonly name: string;
  readonly open: () => Lab;
  readonly print: (value: Printed) => void;
}

/** @returns the exit code @throws LabError */
export async function main(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  let output: Output = 'text';
  const program = new Command('lab');
  const context: VerbContext = {
    name: process.env.LAB_NAME ?? 'lab',
    open: () => Lab.open(context.name),
    print: (value) => print(value, output),
  };
  program
    .description('Machines with kernels of their own, to be broken on purpose.')
    .addHelpText('after', help)
    .enablePositionalOptions()
    .exitOverride()
    .showHelpAfterError(false)
    .configureOutput({ outputError: () => undefined });

  program
    .command('build')
    .description("fetch and put together the machines' files, once; `up` does it too")
    .action(async () => {
      await machineFiles((line) => console.error(line));
    });
  program
    .command('up')
    .description('start a lab of COUNT machines and wait until commands can be run on them')
    .argument('<count>', 'how many machines', positive)
    .option('--disks <size...>', 'plain disks of each machine', ['4G'])
    .option('--controlled <size...>', 'disks of each machine that can misbehave', [])
    .option('--logged <size...>', 'disks of each machine that log every write and flush', [])
    .option('--mem <size>', 'memory of each machine', '256M')
    .action(async (count: number, options: UpOptions) => {
      const lab = await Lab.start({
        machines: count,
        name: context.name,
        keep: true,
        memory: options.mem,
        disks: [
          ...options.disks,
          ...options.controlled.map((size) => ({ size, kind: 'controlled' as const })),
          ...options.logged.map((size) => ({ size, log: true })),
        ],
        report: (line) => console.error(line),
      });
      context.print(describeLab(lab));
    });
  program
    .command('down')
    .description('end the lab; machines, networks and disks are gone')
    .action(async () => {
      const was = await takeDown(context.name);
      context.print({
        value: { name: context.name, was },
        text: was ? `${context.name} is down` : `${context.name} was not up`,
      });
    });
  program
    .command('status')
    .description('machines, disks and partitions of the lab')
    .action(() => context.print(describeLab(context.open())));
  program
    .command('list')
    .description('all labs')
    .action(() => {
      const labs = labNames().map((name) => ({ name, alive: hasLife(new LabFolder(name).read()) }));
      context.print({
        value: labs,
        text: labs.map(({ name, alive }) => `${name}${alive ? '' : ' (dead)'}`).join('\n'),
      });
    });
  program
    .command('exec')
    .description('run a command on a machine, or a shell; exit code and streams are its own')
    .argument('<n>', 'machine', positive)
    .argument('[command...]')
    .passThroughOptions()
    .action(async (number: number, command: readonly string[]) => {
      exitCode = await context
        .open()
        .machine(number)
        .attach(command[0] === '--' ? command.slice(1) : command);
    });
  program
    .command('console')
    .description('what the machine wrote on its console: kernel messages, panics')
    .argument('<n>', 'machine', positive)
    .action((number: number) => {
      process.stdout.write(readFileSync(context.open().machine(number).consolePath));
    });
  program
    .command('mount')
    .description('show a folder of the host in a machine, live, under the same path')
    .argument('<n>', 'machine', positive)
    .argument('<folder>')
    .option('--writable', 'the machine may write to it', false)
    .action(async (number: number, folder: string, options: { writable: boolean }) => {
      await context.open().machine(number).mount(folder, options);
    });
  const onMachine = (
    verb: string,
    description: string,
    work: (machine: ReturnType<Lab['machine']>) => void | Promise<void>,
  ) =>
    program
      .command(verb)
      .description(description)
      .argument('<n>', 'machine', positive)
      .action((number: number) => work(context.open().machine(number)));
  onMachine('power-cut', 'cut the power of a machine; its disks keep what had reached them', (machine) =>
    machine.powerCut(),
  );
  onMachine('boot', 'start a machine again, on the same disks', (machine) => machine.boot());
  onMachine('hang', 'freeze a whole machine', (machine) => machine.hang());
  onMachine('resume', 'end "hang"', (machine) => machine.resume());
  program
    .command('partition')
    .description('cut a machine off the storage network, or only from one other machine')
    .argument('<n>', 'machine', positive)
    .argument('[m]', 'the other machine', positive)
    .action((one: number, other?: number) => context.open().partition(one, other));
  program
    .command('heal')
    .description('end one partition, or all')
    .argument('[n]', 'machine', positive)
    .argument('[m]', 'the other machine', positive)
    .action((one?: number, other?: number) => context.open().heal(one, other));
  addDiskVerbs(program, context);
  const disks = program.commands.find((verb) => verb.name() === 'disk');
  // Everywhere but for exec, whose words belong to another program.
  for (const verb of [program, ...program.commands, ...(disks?.commands ?? [])])
    if (verb.name() !== 'exec')
      verb
        .addOption(new Option('-o, --output <format>', 'text or json').choices(['text', 'json']))
        .on('option:output', (format: Output) => (output = format));

  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 0;
    if (error.code === 'commander.help') return 2;
    throw new LabError(error.message.replace(/^error: /, ''), 'npm run lab -- --help', { cause: error });
  }
  return exitCode;
}

interface UpOptions {
  readonly disks: readonly string[];
  readonly controlled: readonly string[];
  readonly logged: readonly string[];
  readonly mem: string;
}

/** The number of a machine. */
export function positive(text: string): number {
  if (!/^[1-9]$/.test(text)) throw new InvalidArgumentError('Give a number from 1 to 9.');
  return Number(text);
}
