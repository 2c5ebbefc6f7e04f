import { basename } from 'node:path';
import type { BlockNode, Host } from '../host.ts';

/** The name of a volume's mapping below /dev/mapper. */
export function mappingName(volumeId: string): string {
  return `azk-luks-${volumeId}`;
}

/** The open mapping of a name, as sysfs tells of it: no device is touched. */
export async function findMapping(host: Pick<Host, 'blockNodes'>, name: string): Promise<BlockNode | undefined> {
  // CRYPT-LUKS2-<uuid>-<name>: the name at the end makes it differ for clones with one UUID.
  const mapped = (uuid: string) => uuid.startsWith('CRYPT-LUKS2-') && uuid.endsWith(`-${name}`);
  const nodes = await host.blockNodes({ mappedOnly: true, mapped });
  return nodes.find((node) => node.mapped?.name === name);
}

/** Whether the mapping stands on the device. */
export function standsOn(mapping: BlockNode, device: string): boolean {
  return mapping.slaves.includes(basename(device));
}
