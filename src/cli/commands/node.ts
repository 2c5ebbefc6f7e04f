import type { Command } from 'commander';
import { formatBytes } from '../../lib/quantity.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { Node } from '../../model/kinds.ts';
import { parseName } from '../arguments.ts';
import type { Context } from '../context.ts';
import { registerCordon } from '../cordon.ts';
import { describe } from '../describe.ts';
import { examples } from '../help.ts';
import { printList } from '../output.ts';

export function register(group: Command, context: Context): void {
  const list = group
    .command('list')
    .alias('ls')
    .summary('list nodes')
    .action(async () => printList(context, 'Node', await (await context.client()).list('Node')));
  examples(list, ['node list']);

  const show = group
    .command('show [name]')
    .summary('show one node and its disks; the name may be left out when there is only one')
    .action(async (name: string | undefined) => {
      const client = await context.client();
      const node =
        name === undefined ? onlyNode(await client.list('Node')) : await client.get('Node', parseName(name, 'node'));
      const devices = node.status.devices.map(
        (device) =>
          `${device.path}  ${device.kind}  ${formatBytes(device.sizeBytes)}  ${device.serial ?? 'no serial'}  ${device.usedBy ?? 'free'}`,
      );
      const blank = node.status.devices.filter(
        ({ kind, usedBy, readOnly }) => kind !== 'other' && usedBy === undefined && readOnly !== true,
      );
      const offers = blank.map(
        ({ path, rotational }) =>
          `azekura pool add ${node.metadata.name} ${path} --engine lvm${rotational === undefined ? '' : ` --device-class ${rotational ? 'hdd' : path.startsWith('/dev/nvme') ? 'nvme' : 'ssd'}`}`,
      );
      await describe(context, node, [
        { title: 'devices', lines: devices },
        ...(offers.length > 0 ? [{ title: 'blank disks can be taken with', lines: offers }] : []),
      ]);
    });
  examples(show, ['node show', 'node show alpha', 'node show alpha -o json']);

  registerCordon(group, context, 'Node', 'alpha');
}

function onlyNode(nodes: readonly Node[]): Node {
  const [node] = nodes;
  if (node && nodes.length === 1) return node;
  throw new AzekuraError('InvalidArgument', `there are ${nodes.length} nodes`, {
    next: 'name one; `azekura node list` lists them',
  });
}
