import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';

/** A block device as sysfs tells of it: no device is opened, so nothing here waits for one. */
export interface BlockNode {
  /** The kernel's name, such as sda1 or dm-3. */
  readonly name: string;
  /** /dev/<name>. */
  readonly path: string;
  readonly kind: 'disk' | 'partition' | 'mapped' | 'raid';
  /** major:minor. */
  readonly deviceNumber: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly rotational: boolean;
  /** How the disk is reached, as far as the kernel's tree of devices tells: nvme, usb, virtio, ata, scsi … */
  readonly transport?: string;
  readonly serial?: string;
  /** Errors that a SCSI or ATA disk has reported since boot. */
  readonly ioErrors?: number;
  /** Of a device-mapper device. */
  readonly mapped?: { readonly name: string; readonly uuid: string; readonly suspended: boolean };
  /** Kernel names of what it stands on. */
  readonly slaves: readonly string[];
  /** Kernel names of what stands on it; its partitions too. */
  readonly holders: readonly string[];
}

/** What of the block devices is wanted: a busy node has hundreds of them. */
export interface BlockNodeOptions {
  /** Which device-mapper devices are wanted, by their uuid; all unless told. */
  readonly mapped?: (uuid: string) => boolean;
  /** Nothing but device-mapper devices. */
  readonly mappedOnly?: boolean;
  /** Nothing but these, by the kernel's name; partitions too. */
  readonly names?: ReadonlySet<string>;
}

const skipped = /^(ram|zram|sr|fd|mtdblock)\d/;

/**
 * All block devices of the machine that could hold data of ours. Loop devices are left out,
 * and so is what has no size.
 *
 * @param sys "/sys", or a copy of parts of it in tests
 */
export function readBlockNodes(sys = '/sys', options: BlockNodeOptions = {}): readonly BlockNode[] {
  const nodes: BlockNode[] = [];
  for (const name of list(join(sys, 'block'))) {
    if (skipped.test(name) || name.startsWith('loop') || (options.mappedOnly && !name.startsWith('dm-'))) continue;
    const folder = join(sys, 'block', name);
    const uuid = name.startsWith('dm-') ? (text(join(folder, 'dm/uuid')) ?? '') : undefined;
    if (uuid !== undefined && options.mapped && !options.mapped(uuid)) continue;
    const partitions = uuid === undefined ? list(folder).filter((entry) => isPartition(folder, name, entry)) : [];
    const wanted = (one: string) => options.names?.has(one) ?? true;
    if (![name, ...partitions].some(wanted) || sizeOf(folder) === 0) continue;
    const node = describe(folder, name, kindOf(name), uuid);
    if (wanted(name)) nodes.push({ ...node, holders: [...node.holders, ...partitions] });
    for (const partition of partitions.filter(wanted))
      nodes.push({ ...describe(join(folder, partition), partition, 'partition'), ...inherited(node) });
  }
  return nodes;
}

function sizeOf(folder: string): number {
  return Number(text(join(folder, 'size')) ?? 0) * 512;
}

function describe(folder: string, name: string, kind: BlockNode['kind'], uuid?: string): BlockNode {
  // The device mapper has none of these, and a busy node hundreds of its devices.
  const errors = uuid === undefined ? text(join(folder, 'device/ioerr_cnt')) : undefined;
  const serial = uuid === undefined ? serialOf(folder) : undefined;
  const transport = kind === 'disk' ? transportOf(folder, name) : undefined;
  return {
    name,
    path: `/dev/${name.replaceAll('!', '/')}`,
    kind,
    deviceNumber: text(join(folder, 'dev')) ?? '',
    sizeBytes: sizeOf(folder),
    readOnly: text(join(folder, 'ro')) === '1',
    rotational: text(join(folder, 'queue/rotational')) === '1',
    ...(transport ? { transport } : {}),
    ...(serial ? { serial } : {}),
    ...(errors === undefined ? {} : { ioErrors: Number(errors) }),
    ...(uuid === undefined
      ? {}
      : {
          mapped: {
            name: text(join(folder, 'dm/name')) ?? '',
            uuid,
            suspended: text(join(folder, 'dm/suspended')) === '1',
          },
        }),
    slaves: list(join(folder, 'slaves')),
    holders: list(join(folder, 'holders')),
  };
}

function kindOf(name: string): BlockNode['kind'] {
  if (name.startsWith('dm-')) return 'mapped';
  return name.startsWith('md') ? 'raid' : 'disk';
}

function isPartition(folder: string, disk: string, entry: string): boolean {
  return entry.startsWith(disk) && text(join(folder, entry, 'partition')) !== undefined;
}

/** What a partition shares with its disk. */
function inherited(disk: BlockNode): Partial<BlockNode> {
  const { rotational, transport, ioErrors } = disk;
  return {
    rotational,
    ...(transport === undefined ? {} : { transport }),
    ...(ioErrors === undefined ? {} : { ioErrors }),
  };
}

function serialOf(folder: string): string | undefined {
  return text(join(folder, 'device/serial')) ?? text(join(folder, 'serial')) ?? serialOfPage(folder);
}

/** SCSI page 0x80: four bytes of header, then the serial number. */
function serialOfPage(folder: string): string | undefined {
  const page = text(join(folder, 'device/vpd_pg80'), 'latin1');
  return page === undefined || page.length <= 4 ? undefined : printable(page.slice(4));
}

function transportOf(folder: string, name: string): string | undefined {
  if (name.startsWith('nvme')) return 'nvme';
  const path = quietly(() => realpathSync(folder)) ?? '';
  return /\/(usb|virtio|ata|vmbus|xen)\d*/.exec(path)?.[1] ?? (name.startsWith('sd') ? 'scsi' : undefined);
}

function list(path: string): readonly string[] {
  return quietly(() => readdirSync(path).sort()) ?? [];
}

/** An attribute without blanks around it; undefined when it is not there: the device may go while we read. */
function text(path: string, encoding: 'utf8' | 'latin1' = 'utf8'): string | undefined {
  return quietly(() => readFileSync(path, encoding))?.trim();
}

function printable(value: string): string {
  return value.replace(/[^\x20-\x7e]/g, '').trim();
}

function quietly<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
