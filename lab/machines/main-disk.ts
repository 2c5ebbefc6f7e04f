/** `npm run lab -- disk …`. */
import { type Command, InvalidArgumentError } from 'commander';
import type { MachineDisk } from './machine-disk.ts';
import { positive, type VerbContext } from './main.ts';

interface AddOptions {
  readonly controlled: boolean;
  readonly log: boolean;
  readonly ignoreFlush: boolean;
  readonly image?: string;
}

export function addDiskVerbs(program: Command, context: VerbContext): void {
  const disk = program
    .command('disk')
    .description('disks of a machine: /dev/ubdX are plain, /dev/nbdX are controlled and can misbehave');
  disk
    .command('add')
    .description('add a disk and print its device')
    .argument('<n>', 'machine', positive)
    .argument('[size]', 'such as 4G; the size of --image where there is one')
    .option('--controlled', 'a disk that can misbehave', false)
    .option('--log', 'log every write and flush (controlled)', false)
    .option('--ignore-flush', 'answer flushes and forget them (controlled)', false)
    .option('--image <file>', 'a file of the host as the disk')
    .action(async (number: number, size: string | undefined, options: AddOptions) => {
      const machine = context.open().machine(number);
      const added = await machine.addDisk({
        ...(size === undefined ? {} : { size }),
        ...(options.controlled ? { kind: 'controlled' as const } : {}),
        ...(options.image ? { image: options.image } : {}),
        log: options.log,
        ignoreFlush: options.ignoreFlush,
      });
      const value = { device: added.device, file: added.file, ...(options.log ? { log: added.logPath } : {}) };
      context.print({ value, text: added.device });
    });
  const onDisk = (verb: string, description: string, work: (disk: MachineDisk) => Promise<void>) =>
    disk
      .command(verb)
      .description(description)
      .argument('<n>', 'machine', positive)
      .argument('<device>', 'such as nbd0')
      .action((number: number, device: string) => work(context.open().machine(number).disk(device)));
  onDisk('remove', 'pull it out for good; its bytes are removed', (one) => one.remove());
  onDisk('pull', 'pull it out; a controlled disk also while it is in use', (one) => one.pull());
  onDisk('plug-in', 'put it in again', (one) => one.plugIn());
  onDisk('fail', 'every request gets an I/O error (controlled)', (one) => one.fail());
  onDisk('fill', 'every write gets "no space left" (controlled)', (one) => one.fill());
  onDisk('hang', 'requests are taken and not answered (controlled)', (one) => one.hang());
  onDisk('mend', 'end fail, fill, hang and slow', (one) => one.mend());
  disk
    .command('slow')
    .description('each request takes longer (controlled)')
    .argument('<n>', 'machine', positive)
    .argument('<device>', 'such as nbd0')
    .argument('<ms>', 'milliseconds more for each request', milliseconds)
    .action((number: number, device: string, delayMs: number) =>
      context.open().machine(number).disk(device).slow(delayMs),
    );
}

function milliseconds(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('Give whole milliseconds.');
  return Number(text);
}
