/** What the command line prints: the same facts as text or as JSON. */
import { readFileSync, statSync } from 'node:fs';
import { formatBytes } from '../../src/lib/quantity.ts';
import type { Lab } from './lab.ts';
import type { Machine } from './machine.ts';

export type Output = 'text' | 'json';

export interface Printed {
  readonly value: unknown;
  readonly text: string;
}

export function print({ value, text }: Printed, output: Output): void {
  if (output === 'json') console.log(JSON.stringify(value, null, 2));
  else if (text) console.log(text);
}

export interface MachineFacts {
  readonly name: string;
  readonly state: 'running' | 'hung' | 'off';
  /** Memory of the host that it holds, bytes. */
  readonly memoryBytes: number;
  readonly address: string;
  readonly console: string;
  readonly disks: readonly {
    readonly device: string;
    readonly kind: string;
    readonly sizeBytes: number;
    /** What its bytes take on the host. */
    readonly usedBytes: number;
    readonly file: string;
  }[];
}

/** The machines of a lab, their disks, and who cannot reach whom. */
export function describeLab(lab: Lab): Printed {
  const machines = lab.machines.map(describeMachine);
  const { partitions } = lab.folder.read();
  const cuts = partitions.map(([one, other]) => `n${one} from ${other === 0 ? 'all' : `n${other}`}`);
  const value = { name: lab.name, folder: lab.folder.path, machines, partitions };
  const lines = machines.map(({ name, state, memoryBytes, address, disks }) => {
    const list = disks.map(({ device, sizeBytes }) => `${device} ${formatBytes(sizeBytes)}`).join(', ');
    return `${name}  ${state.padEnd(7)}  ${address}  ${formatBytes(memoryBytes).padStart(9)}  ${list}`;
  });
  return { value, text: [...lines, ...(cuts.length > 0 ? [`cut: ${cuts.join(', ')}`] : [])].join('\n') };
}

function describeMachine(machine: Machine): MachineFacts {
  const { process } = machine;
  const status = process ? readFileSync(`/proc/${process.pid}/status`, 'utf8') : '';
  return {
    name: machine.name,
    state: !process ? 'off' : /^State:\s+T/m.test(status) ? 'hung' : 'running',
    memoryBytes: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024,
    address: machine.address,
    console: machine.consolePath,
    disks: machine.disks.map((disk) => ({
      device: disk.device,
      kind: disk.kind,
      sizeBytes: disk.sizeBytes,
      usedBytes: statSync(disk.file).blocks * 512,
      file: disk.file,
    })),
  };
}
