import type { Command } from 'commander';
import { AzekuraError } from '../../model/errors.ts';
import { type PoolRule, PoolRules } from '../../model/pool-rule.ts';
import type { Context } from '../context.ts';
import { examples } from '../help.ts';

interface Options {
  readonly kubeconfig?: string;
  readonly namespace?: string;
  readonly identity?: string;
  readonly runDir: string;
  readonly reservations: boolean;
  readonly extenderListen?: string;
  readonly healthListen?: string;
  readonly listen?: string;
  readonly pools?: string;
  readonly logLevel: string;
  readonly json?: boolean;
}

export function register(command: Command, context: Context): void {
  command
    .option('--kubeconfig <file>', 'how to reach the API server ($KUBECONFIG, or as a pod does)')
    .option('--namespace <name>', "where the controllers' Lease is ($POD_NAMESPACE, or as a pod does)")
    .option('--identity <name>', 'who this one is among the controllers ($POD_NAME, or host name and process id)')
    .option('--run-dir <folder>', 'for the sockets of the API and of the CSI driver', '/run/azekura')
    .option('--no-reservations', 'place each claim for itself, whatever room the other claims of its pod need')
    .option('--extender-listen <addr:port>', 'answer kube-scheduler there, as its extender')
    .option('--health-listen <addr:port>', 'answer probes and metrics there, without a token')
    .option('--listen <addr:port>', 'also serve the API on TCP; needs --token-file')
    .option('--pools <json>', "the pools that nodes are given: a list as in the chart's value `pools`")
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .option('--json', 'log as JSON lines, also on a terminal')
    .action(async (options: Options) => {
      const { tokenFile } = context.globals();
      const namespace = options.namespace ?? context.env.POD_NAMESPACE;
      const identity = options.identity ?? context.env.POD_NAME;
      const code = await context.roles.controller({
        runDir: options.runDir,
        reservations: options.reservations,
        ...(options.extenderListen === undefined ? {} : { extenderListen: options.extenderListen }),
        ...(options.kubeconfig === undefined ? {} : { kubeconfig: options.kubeconfig }),
        ...(namespace ? { namespace } : {}),
        ...(identity ? { identity } : {}),
        ...(options.healthListen === undefined ? {} : { healthListen: options.healthListen }),
        ...(options.listen === undefined ? {} : { listen: options.listen }),
        ...(tokenFile === undefined ? {} : { tokenFile }),
        pools: options.pools === undefined ? [] : parsePools(options.pools),
        logLevel: options.logLevel,
        jsonLog: options.json ?? !context.terminal.outIsTty,
      });
      context.setExitCode(code);
    });
  examples(command, ['controller --namespace azekura', 'controller --health-listen 0.0.0.0:7845']);
}

function parsePools(text: string): readonly PoolRule[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new AzekuraError('InvalidArgument', `--pools "${text.slice(0, 64)}" is not JSON`);
  }
  const parsed = PoolRules.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AzekuraError('InvalidArgument', `--pools: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`);
}
