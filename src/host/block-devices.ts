import { z } from 'zod';
import type { BlockDeviceInfo } from './host.ts';

/** The command whose output parseLsblk() reads. */
export const lsblkArgv = [
  'lsblk',
  '--json',
  '--bytes',
  '--output',
  'PATH,TYPE,SIZE,RO,ROTA,SERIAL,MODEL,FSTYPE,PTTYPE,MOUNTPOINTS',
] as const;

/** The command whose output parseWipefs() reads: it looks at the device itself, not at what udev once saw. */
export const wipefsArgv = (device: string) => ['wipefs', '--json', '--no-act', device] as const;

interface LsblkDevice {
  readonly path: string;
  readonly type: string;
  readonly size: number | string | null;
  readonly ro: boolean | string;
  readonly rota: boolean | string;
  readonly serial: string | null;
  readonly model: string | null;
  readonly fstype: string | null;
  readonly pttype: string | null;
  readonly mountpoints: readonly (string | null)[];
  readonly children?: readonly LsblkDevice[] | undefined;
}

// Versions before 2.33 write numbers and booleans as strings.
const Flag = z.union([z.boolean(), z.string()]);
const Device: z.ZodType<LsblkDevice> = z.object({
  path: z.string(),
  type: z.string(),
  size: z.union([z.number(), z.string()]).nullable(),
  ro: Flag,
  rota: Flag,
  serial: z.string().nullable(),
  model: z.string().nullable(),
  fstype: z.string().nullable(),
  pttype: z.string().nullable(),
  mountpoints: z.array(z.string().nullable()),
  get children() {
    return z.array(Device).optional();
  },
});
const Output = z.object({ blockdevices: z.array(Device) });
const Wipefs = z.object({ signatures: z.array(z.object({ type: z.string() })) });

/** Reads the output of lsblkArgv: all devices, those that are stacked on others too, each once. */
export function parseLsblk(text: string): readonly BlockDeviceInfo[] {
  const byPath = new Map<string, BlockDeviceInfo>();
  const visit = (device: LsblkDevice) => {
    byPath.set(device.path, describe(device));
    for (const child of device.children ?? []) visit(child);
  };
  for (const device of Output.parse(JSON.parse(text)).blockdevices) visit(device);
  return [...byPath.values()];
}

/** Reads the output of wipefsArgv: the signatures found, joined with commas; undefined for none. */
export function parseWipefs(text: string): string | undefined {
  if (text.trim() === '') return undefined;
  const types = Wipefs.parse(JSON.parse(text)).signatures.map(({ type }) => type);
  return types.length > 0 ? [...new Set(types)].join(',') : undefined;
}

function describe(device: LsblkDevice): BlockDeviceInfo {
  const signature = [device.fstype, device.pttype].filter((type) => type).join(',');
  const serial = device.serial?.trim();
  const model = device.model?.trim();
  return {
    path: device.path,
    kind: device.type === 'disk' ? 'disk' : device.type === 'part' ? 'partition' : 'other',
    sizeBytes: Number(device.size ?? 0),
    readOnly: isTrue(device.ro),
    rotational: isTrue(device.rota),
    ...(serial ? { serial } : {}),
    ...(model ? { model } : {}),
    ...(signature ? { signature } : {}),
    mountedAt: device.mountpoints.filter((point) => point !== null),
    children: (device.children ?? []).map(({ path }) => path),
  };
}

function isTrue(flag: boolean | string): boolean {
  return flag === true || flag === '1';
}
