import type { Command } from 'commander';
import { parseNumber, parseSize } from '../arguments.ts';
import type { Context } from '../context.ts';
import { examples } from '../help.ts';

interface Options {
  readonly pool: boolean;
  readonly poolSize?: string;
  readonly maxVolumesPerNode?: string;
  readonly logLevel: string;
  readonly json?: boolean;
  readonly listen?: string;
}

export function register(command: Command, context: Context): void {
  command
    .option('--no-pool', 'make no trial pool when there is none')
    .option('--pool-size <size>', 'size of the trial pool (20 % of the free space, at most 20Gi)')
    .option('--max-volumes-per-node <n>', 'volumes that CSI attaches to this node at most (no limit)')
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .option('--json', 'log as JSON lines, also on a terminal')
    .option('--listen <addr:port>', 'also serve the API on TCP; needs --token-file')
    .action(async (options: Options) => {
      const { dataDir, tokenFile } = context.globals();
      const code = await context.roles.up({
        dataDir,
        pool: options.pool,
        ...(options.poolSize === undefined ? {} : { poolSizeBytes: parseSize(options.poolSize, '--pool-size') }),
        ...(options.maxVolumesPerNode === undefined
          ? {}
          : { maxVolumesPerNode: parseNumber(options.maxVolumesPerNode, '--max-volumes-per-node', 1, 100_000) }),
        logLevel: options.logLevel,
        jsonLog: options.json ?? !context.terminal.outIsTty,
        ...(options.listen === undefined ? {} : { listen: options.listen }),
        ...(tokenFile === undefined ? {} : { tokenFile }),
      });
      context.setExitCode(code);
    });
  examples(command, [
    'up',
    'up --data-dir /srv/azekura --pool-size 5Gi',
    'up --no-pool --listen 127.0.0.1:7843 --token-file /etc/azekura/token',
  ]);
}
