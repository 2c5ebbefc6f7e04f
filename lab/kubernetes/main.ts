/** `npm run lab -- kubernetes VERB …`: the lab by hand. */
import { parseArgs } from 'node:util';
import { allBinaries, type Binary, binariesFor, binary } from './binaries.ts';
import { build } from './build.ts';
import { Cluster } from './cluster.ts';
import { runForeground } from './foreground.ts';
import { installAzekura, restartAzekura } from './install.ts';
import { memoryOf } from './memory.ts';
import { setUpMachine } from './setup.ts';

const usage = `npm run lab -- kubernetes VERB

  build [BINARY…]           builds what the lab runs, once; \`up\` does it too
  up [--nodes N] [--kernels [M]] [--bare]
                            starts a cluster (3 nodes) with our chart on it, and a pool on each node; --bare: without.
                            --kernels: M nodes more (1) are machines with kernels of their own, with device-mapper and
                            the disks /dev/ubdb and /dev/ubdc; --mem SIZE and --disk SIZE … say how large (1200M, 4G
                            and 4G). Their disks, hangs and consoles: LAB_NAME=kube-lab npm run lab -- --help
  up --api-only [--controllers]
                            etcd and kube-apiserver alone
  install                   the chart and images of this checkout, again
  down                      ends it; leaves no process, mount, loop device, cgroup or file
  status                    members, processes, memory
  kubeconfig                prints the path of an administrator's kubeconfig
  kubectl ARGS…             helm ARGS…
  exec MEMBER CMD…          runs a command in cp, node1, …
  log MEMBER PROCESS        etcd, apiserver, controller-manager, scheduler; containerd, kubelet, proxy
  stop MEMBER PROCESS       again MEMBER PROCESS
  kill-node NODE            start-node NODE; of machines also called power-cut and boot
  images NAME…              gives images of the catalogue to all nodes
  path BINARY               prints where a binary is

--name NAME, or LAB_NAME, names the lab ("lab"): several run side by side.`;

export async function main(args: readonly string[]): Promise<number> {
  const [verb, ...all] = args;
  const { name, rest } = takeName(all);
  const cluster = new Cluster(name);
  const say = (line: string): void => console.error(line);
  switch (verb) {
    case 'build':
      await setUpMachine(say);
      await build(rest.length === 0 ? allBinaries : (rest as Binary[]), say);
      return 0;
    case 'up': {
      const { values } = parseArgs({
        // A bare --kernels is one machine.
        args: rest.map((word, i) => (word === '--kernels' && !/^\d/.test(rest[i + 1] ?? '') ? '--kernels=1' : word)),
        options: {
          kernels: { type: 'string', default: '0' },
          mem: { type: 'string' },
          disk: { type: 'string', multiple: true },
          nodes: { type: 'string', default: '3' },
          'api-only': { type: 'boolean' },
          controllers: { type: 'boolean' },
          bare: { type: 'boolean' },
        },
      });
      const nodes = values['api-only'] ? 0 : Number(values.nodes);
      if (!Number.isInteger(nodes) || nodes < 0 || nodes > 9) throw new Error('--nodes is 1 to 9');
      const count = Number(values.kernels);
      if (!Number.isInteger(count) || count < 0 || nodes + count > 9 || (nodes === 0 && count > 0))
        throw new Error('--kernels is 1 to 9, and at most 9 together with --nodes');
      const memory = values.mem === undefined ? {} : { memory: values.mem };
      const disks = values.disk === undefined ? {} : { disks: values.disk };
      const machines = count > 0 ? { machines: { count, ...memory, ...disks } } : {};
      const shape = { nodes, controllers: values.controllers ?? false, ...machines };
      await setUpMachine(say);
      await build(binariesFor(shape), say);
      await cluster.up(shape, say);
      if (nodes > 0 && !values.bare) await installAzekura(cluster, say);
      say(`export KUBECONFIG=${cluster.kubeconfig}`);
      return 0;
    }
    case 'install':
      await installAzekura(cluster, say);
      await restartAzekura(cluster);
      say('its pods are new');
      return 0;
    case 'down':
      await cluster.down();
      return 0;
    case 'status':
      return status(cluster);
    case 'kubeconfig':
      console.log(cluster.kubeconfig);
      return 0;
    case 'kubectl':
    case 'helm':
      return runForeground([binary(verb), '--kubeconfig', cluster.kubeconfig, ...rest]);
    case 'exec': {
      const [member = '', ...argv] = rest;
      return runForeground(cluster.member(member).entering(argv, { KUBECONFIG: cluster.innerKubeconfig }));
    }
    case 'log':
      process.stdout.write(cluster.member(rest[0] ?? '').log(rest[1] ?? ''));
      return 0;
    case 'stop':
      await cluster.member(rest[0] ?? '').stop(rest[1] ?? '');
      return 0;
    case 'again':
      await cluster.member(rest[0] ?? '').again(rest[1] ?? '');
      return 0;
    case 'kill-node':
    case 'power-cut':
      await cluster.killNode(rest[0] ?? '');
      return 0;
    case 'start-node':
    case 'boot':
      await cluster.startNode(rest[0] ?? '');
      return 0;
    case 'images':
      await cluster.loadNamedImages(rest);
      return 0;
    case 'path':
      console.log(binary(rest[0] as Binary));
      return 0;
    default:
      console.error(usage);
      return verb === undefined || verb === 'help' ? 0 : 2;
  }
}

/** --name wherever it stands before the words of another program. */
function takeName(args: readonly string[]): { readonly name: string; readonly rest: string[] } {
  const name = process.env.LAB_NAME ?? 'lab';
  if (args[0] === '--name' && args[1] !== undefined) return { name: args[1], rest: args.slice(2) };
  return { name, rest: [...args] };
}

async function status(cluster: Cluster): Promise<number> {
  if (!cluster.isUp) {
    console.log(`lab ${cluster.name}: down`);
    return 1;
  }
  console.log(`lab ${cluster.name}: ${cluster.folder}`);
  for (const name of ['cp', ...cluster.nodes]) {
    const member = cluster.member(name);
    const words = member.processes.map((process) => (member.runs(process) ? process : `${process} (ended)`));
    console.log(`${name}: ${member.holder === undefined ? 'down' : words.join(' ')}`);
  }
  const { processes, pssBytes } = memoryOf(cluster);
  console.log(`memory: ${processes} processes, ${Math.round(pssBytes / 1e6)} MB`);
  if (cluster.nodes.length > 0)
    await runForeground([binary('kubectl'), '--kubeconfig', cluster.kubeconfig, 'get', 'nodes']);
  return 0;
}

if (process.argv[1] !== undefined && import.meta.filename === process.argv[1]) {
  main(process.argv.slice(2)).then(
    (code) => {
      process.exitCode = code;
    },
    (error: unknown) => {
      console.error(`Error: ${error instanceof Error ? error.message : String(error)}`);
      process.exitCode = 1;
    },
  );
}
