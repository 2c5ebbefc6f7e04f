import type { Command } from 'commander';
import { AzekuraError } from '../../model/errors.ts';
import { parseNumber } from '../arguments.ts';
import type { Context } from '../context.ts';
import { examples } from '../help.ts';

interface Options {
  readonly nodeName?: string;
  readonly kubeconfig?: string;
  readonly kubeletDir: string;
  readonly maxVolumesPerNode?: string;
  readonly healthListen?: string;
  readonly logLevel: string;
  readonly json?: boolean;
}

export function register(command: Command, context: Context): void {
  command
    .option('--node-name <name>', 'name of the Kubernetes node ($NODE_NAME)')
    .option('--kubeconfig <file>', 'how to reach the API server ($KUBECONFIG, or as a pod does)')
    .option('--kubelet-dir <folder>', "the kubelet's root folder", '/var/lib/kubelet')
    .option('--max-volumes-per-node <n>', 'volumes that may be attached to this node at most (no limit)')
    .option('--health-listen <addr:port>', 'answer probes and metrics there, without a token')
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .option('--json', 'log as JSON lines, also on a terminal')
    .action(async (options: Options) => {
      const nodeName = options.nodeName ?? context.env.NODE_NAME;
      if (!nodeName)
        throw new AzekuraError('InvalidArgument', 'the name of the Kubernetes node is missing', {
          next: 'give it with --node-name or $NODE_NAME',
        });
      const code = await context.roles.agent({
        nodeName,
        dataDir: context.globals().dataDir,
        kubeletDir: options.kubeletDir,
        ...(options.kubeconfig === undefined ? {} : { kubeconfig: options.kubeconfig }),
        ...(options.maxVolumesPerNode === undefined
          ? {}
          : { maxVolumesPerNode: parseNumber(options.maxVolumesPerNode, '--max-volumes-per-node', 1, 100_000) }),
        ...(options.healthListen === undefined ? {} : { healthListen: options.healthListen }),
        logLevel: options.logLevel,
        jsonLog: options.json ?? !context.terminal.outIsTty,
      });
      context.setExitCode(code);
    });
  examples(command, [
    'agent --node-name worker-1',
    'agent --node-name worker-1 --kubelet-dir /var/snap/microk8s/common/var/lib/kubelet --health-listen 0.0.0.0:7844',
  ]);
}
