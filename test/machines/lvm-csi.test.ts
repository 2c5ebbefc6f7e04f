import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { ToolMissing } from '../../lab/go.ts';
import { type Lab, type Machine, startMachines } from '../../lab/machines/index.ts';
import { sanityArguments, sanityPending, sanitySpecs } from '../../lab/sanity/arguments.ts';
import { buildSanity } from '../../lab/sanity/build.ts';
import { readSanityReport } from '../../lab/sanity/report.ts';
import { azekuraIn, type MachineAzekura } from './azekura.ts';

/* csi-sanity against the engine lvm, plain and encrypted, inside a machine. What it cannot pass as published is in ../csi-sanity.test.ts. */
const missing = await buildSanity(true).then(
  () => undefined,
  (error: unknown) => {
    if (error instanceof ToolMissing) return error.message;
    throw error;
  },
);
const long = process.env.AZEKURA_LONG === '1';
const keyFile = '/run/keys/class';
interface Kind {
  readonly access: 'mount' | 'block';
  readonly provisioning: 'thin' | 'thick';
  /** Where the key comes from, of encrypted ones. */
  readonly key?: 'file' | 'Secret';
}
const kinds: readonly Kind[] = [
  { access: 'mount', provisioning: 'thin' },
  ...(long
    ? ([
        { access: 'block', provisioning: 'thin' },
        { access: 'mount', provisioning: 'thick' },
        { access: 'block', provisioning: 'thick' },
        { access: 'mount', provisioning: 'thin', key: 'file' },
        { access: 'block', provisioning: 'thin', key: 'file' },
        { access: 'mount', provisioning: 'thick', key: 'Secret' },
      ] as const)
    : []),
];
/** Specs of csi-sanity that begin with a snapshot, which thick logical volumes do not have; it cannot be told so. */
const snapshotSpecs = 11;
const noSnapshots = 'desc = engine lvm cannot take snapshots of thick volumes';
const titleOf = ({ access, provisioning, key }: Kind) =>
  `${access} and ${provisioning} volumes${provisioning === 'thick' ? ', but for their snapshots' : ''}` +
  `${key ? `, encrypted with a key from a ${key}` : ''}`;

let lab: Lab;
let machine: Machine;
let azekura: MachineAzekura;

beforeAll(async () => {
  if (missing !== undefined) return;
  ensureBuilt();
  lab = await startMachines({ memory: '1G', disks: ['80G'] });
  machine = lab.machine(1);
  azekura = azekuraIn(machine);
  await azekura.up('--max-volumes-per-node', '4');
  await azekura.run('pool', 'add', 'main', '/dev/ubda', '--engine', 'lvm');
  await machine.sh(`umask 377; mkdir -m 700 /run/keys; head -c 48 /dev/urandom >${keyFile}`);
  await azekura.run('class', 'create', 'lvm', '--engine', 'lvm');
  await azekura.run('class', 'create', 'lvm-file', '--engine', 'lvm', '--encryption', 'luks2', '--key-file', keyFile);
  await azekura.run('class', 'create', 'lvm-secret', '--engine', 'lvm', '--encryption', 'luks2');
});
afterAll(() => lab?.down());

describe.skipIf(missing !== undefined)(
  `csi-sanity on lvm${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    it.each(kinds.map((kind) => [titleOf(kind), kind] as const))(
      'passes with %s, and leaves nothing',
      { timeout: 1_200_000 },
      async (_, { access, provisioning, key }) => {
        const argv = sanityArguments({
          folder: machine.share,
          seenAs: '/share',
          scratch: '/run/sanity',
          endpoint: '/run/azekura-state/csi/csi.sock',
          access,
          parameters: { class: `lvm${key === undefined ? '' : `-${key.toLowerCase()}`}`, provisioning, recycle: '0' },
          secret: { key: 'a passphrase of a class' },
        });
        await machine.sh('mkdir -p /run/sanity');
        const { stdout } = await machine.run([await buildSanity(true), ...argv], { deadlineMs: 1_100_000 });
        const report = readSanityReport(`${machine.share}/report.json`);
        const refused = provisioning === 'thick' ? snapshotSpecs : 0;
        expect(report.failed, stdout.slice(-20_000)).toHaveLength(refused);
        expect(new Set(stdout.match(/desc = .*/g))).toEqual(new Set(refused > 0 ? [noSnapshots] : []));
        expect(report.skipped).toEqual([]);
        expect(report.passed).toHaveLength(sanitySpecs - sanityPending.length - refused);
        // One sweep after the last call: what is deleted is gone from the group too.
        expect(await azekura.json('volume', 'list')).toMatchObject({ items: [] });
        expect(await machine.sh('lvs --noheadings -o name | grep -v azk_pool || true')).toBe('');
        expect(await machine.sh('dmsetup ls --target crypt; find /run/azekura-state/run -name luks-header')).toMatch(
          /^(No devices found)?$/,
        );
      },
    );
  },
);
