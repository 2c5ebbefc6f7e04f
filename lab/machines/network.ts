/**
 * Two networks, each a bridge in the lab's own network namespace: storage (`vec0` of a machine, 10.77.0.N), which
 * partitions cut, and management (`vec1`, 10.78.0.N), over which commands and controlled disks go on. The host is .254.
 */
import type { Build } from './build/build.ts';
import type { ProcessIdentity } from './command.ts';
import { runInNetwork } from './keeper.ts';

export const maxMachines = 9;

export interface NetworkOptions {
  readonly keeper: ProcessIdentity;
  readonly build: Pick<Build, 'root'>;
}

export async function makeNetworks(options: NetworkOptions): Promise<void> {
  const lines = ['link set lo up'];
  for (const [bridge, prefix, address] of [
    ['storage', 's', '10.77.0.254'],
    ['management', 'm', '10.78.0.254'],
  ] as const) {
    lines.push(`link add name ${bridge} type bridge`, `addr add ${address}/24 dev ${bridge}`, `link set ${bridge} up`);
    for (let number = 1; number <= maxMachines; number++)
      lines.push(`tuntap add dev ${prefix}${number} mode tap`, `link set ${prefix}${number} master ${bridge} up`);
  }
  await runInNetwork(options.keeper, options.build, ['ip', '-batch', '-'], { input: `${lines.join('\n')}\n` });
}

/**
 * Makes exactly these partitions: of each pair the two machines cannot reach each other, and 0 as the second stands for
 * all others. The rules see whole frames on the bridge, so that machines learn nothing from the cut, not even a lost link.
 */
export async function setPartitions(
  options: NetworkOptions,
  partitions: readonly (readonly [number, number])[],
): Promise<void> {
  const alone = partitions.filter(([, other]) => other === 0).map(([one]) => one);
  const pairs = partitions.filter(([, other]) => other !== 0);
  const rules = [
    'add table bridge lab',
    'delete table bridge lab',
    'table bridge lab {',
    'chain from { type filter hook prerouting priority 0;',
    ...alone.map((one) => `iifname "s${one}" drop`),
    '}',
    'chain between { type filter hook forward priority 0;',
    ...pairs.flatMap(([one, other]) => [
      `iifname "s${one}" oifname "s${other}" drop`,
      `iifname "s${other}" oifname "s${one}" drop`,
    ]),
    '}',
    'chain to { type filter hook postrouting priority 0;',
    ...alone.map((one) => `oifname "s${one}" drop`),
    '}',
    '}',
  ];
  await runInNetwork(options.keeper, options.build, ['nft', '-f', '-'], { input: `${rules.join('\n')}\n` });
}
