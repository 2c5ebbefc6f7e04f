/**
 * The nodes hang on a bridge in the control plane's network namespace. Its MAC address is fixed: a bridge that takes
 * that of its lowest port changes it when a node comes or goes, and the others lose the API for a minute.
 */
import { createServer } from 'node:net';
import { run, tryRun } from './exec.ts';

export const mostNodes = 9;
/** Of the control plane, as nodes and pods see it. */
export const controlPlaneAddress = '10.245.0.1';
export const nodeAddress = (index: number): string => `10.245.0.${10 + index}`;
export const podNetwork = (index: number): string => `10.244.${index}`;
const allNodes = Array.from({ length: mostNodes }, (_, i) => i + 1);

function batch(holder: number, lines: readonly string[]): Promise<string> {
  return run(['nsenter', '-t', String(holder), '-n', 'ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

export async function wireControlPlane(holder: number): Promise<void> {
  await batch(holder, [
    'link add ul0 address 02:aa:00:00:00:01 type bridge',
    `addr add ${controlPlaneAddress}/24 dev ul0`,
    'link set ul0 up',
    ...allNodes.map((i) => `route add ${podNetwork(i)}.0/24 via ${nodeAddress(i)} onlink dev ul0`),
    // It has no kube-proxy: node1's translates what the scheduler asks of Services.
    `route add 10.96.0.0/16 via ${nodeAddress(1)} onlink dev ul0`,
  ]);
}

/** Plugs a node into the control plane's bridge; pods get their addresses from its own bridge cni0. */
export async function wireNode(controlPlane: number, node: number, index: number): Promise<void> {
  // A killed node's may still be there.
  await tryRun(['nsenter', '-t', String(controlPlane), '-n', 'ip', 'link', 'del', `v${index}`]);
  await batch(controlPlane, [
    `link add v${index} type veth peer name eth0 netns ${node}`,
    `link set v${index} master ul0 up`,
  ]);
  await batch(node, [...nodeNetwork(index, 'eth0'), `route add 10.96.0.0/16 dev cni0 src ${podNetwork(index)}.1`]);
}

/** What a node's network is made of, for `ip -batch`. @param card the node's network card */
export function nodeNetwork(index: number, card: string): readonly string[] {
  return [
    `addr add ${nodeAddress(index)}/24 dev ${card}`,
    `link set ${card} up`,
    `link add cni0 address 02:ab:00:00:00:0${index} type bridge`,
    `addr add ${podNetwork(index)}.1/24 dev cni0`,
    'link set cni0 up',
    `route add default via ${controlPlaneAddress}`,
    ...allNodes
      .filter((i) => i !== index)
      .map((i) => `route add ${podNetwork(i)}.0/24 via ${nodeAddress(i)} onlink dev ${card}`),
  ];
}

/** A port of 127.0.0.1 that nobody listens on, below the range of outgoing connections. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}
