import { copyFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../../lab/daemon.ts';
import { ToolMissing } from '../../lab/go.ts';
import { type Lab, type Machine, startMachines } from '../../lab/machines/index.ts';
import { buildSanity } from '../../lab/sanity/build.ts';
import { azekuraIn, type MachineAzekura } from './azekura.ts';

/* csi-sanity against the engine lvm, inside a machine. What it cannot pass as published is in ../csi-sanity.test.ts. */
const specs = 103;
const missing = await buildSanity(true).then(
  () => undefined,
  (error: unknown) => {
    if (error instanceof ToolMissing) return error.message;
    throw error;
  },
);
const long = process.env.AZEKURA_LONG === '1';
const kinds = [
  ['mount', 'thin'],
  ...(long
    ? ([
        ['block', 'thin'],
        ['mount', 'thick'],
        ['block', 'thick'],
      ] as const)
    : []),
] as const;

let lab: Lab;
let machine: Machine;
let azekura: MachineAzekura;

beforeAll(async () => {
  if (missing !== undefined) return;
  ensureBuilt();
  lab = await startMachines({ memory: '1G', disks: ['80G'] });
  machine = lab.machine(1);
  copyFileSync(await buildSanity(true), `${lab.shared}/csi-sanity`);
  azekura = azekuraIn(machine);
  await azekura.up('--max-volumes-per-node', '4');
  await azekura.run('pool', 'add', 'main', '/dev/ubda', '--engine', 'lvm');
  await azekura.run('class', 'create', 'lvm', '--engine', 'lvm');
});
afterAll(() => lab?.down());

interface Spec {
  readonly State: string;
  readonly LeafNodeType: string;
  readonly LeafNodeText: string;
  readonly RunTime: number;
  readonly Failure?: { readonly Message: string };
}

describe.skipIf(missing !== undefined)(
  `csi-sanity on lvm${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  () => {
    it.each(kinds)(
      'passes with %s and %s volumes, and leaves nothing',
      { timeout: 1_200_000 },
      async (access, provisioning) => {
        const secrets = Object.fromEntries(
          [
            'CreateVolume',
            'DeleteVolume',
            'ControllerPublishVolume',
            'NodeStageVolume',
            'NodePublishVolume',
            'CreateSnapshot',
          ].map((call) => [`${call}Secret`, { key: 'secret' }]),
        );
        await machine.exec(['tee', '/run/secrets.yaml'], { input: JSON.stringify(secrets) });
        await machine.exec(['tee', '/run/parameters.yaml'], {
          input: JSON.stringify({ class: 'lvm', provisioning, recycle: '0' }),
        });
        await machine.exec(['tee', '/run/mutable.yaml'], { input: JSON.stringify({ recycle: '0' }) });
        const { stdout } = await machine.run(
          [
            await buildSanity(true),
            ...['--csi.endpoint', '/run/azekura-state/csi/csi.sock', '--csi.mountdir', '/run/sanity-mount'],
            ...['--csi.stagingdir', '/run/sanity-staging', '--csi.testvolumesize', String(2 ** 30)],
            ...['--csi.testvolumeexpandsize', String(2 ** 31), '--csi.testvolumeaccesstype', access],
            ...['--csi.testvolumeparameters', '/run/parameters.yaml', '--csi.secrets', '/run/secrets.yaml'],
            ...['--csi.testvolumemutableparameters', '/run/mutable.yaml', '--csi.testnodevolumeattachlimit'],
            ...['--ginkgo.no-color', '--ginkgo.json-report', '/share/report.json'],
          ],
          { deadlineMs: 1_100_000 },
        );
        const report = JSON.parse((await machine.exec(['cat', '/share/report.json'])).stdout) as {
          SpecReports: Spec[];
        }[];
        const all = report
          .flatMap(({ SpecReports }) => SpecReports)
          .filter(({ LeafNodeType }) => LeafNodeType === 'It');
        const bad = all
          .filter(({ State }) => !['passed', 'pending'].includes(State))
          .map(({ LeafNodeText, Failure }) => `${LeafNodeText}: ${Failure?.Message ?? 'not run'}`);
        expect(bad, stdout.slice(-20_000)).toEqual([]);
        expect(all.filter(({ State }) => State === 'passed')).toHaveLength(specs - 1);
        // One sweep after the last call: what is deleted is gone from the group too.
        expect(await azekura.json('volume', 'list')).toMatchObject({ items: [] });
        expect(await machine.sh('lvs --noheadings -o name | grep -v azk_pool || true')).toBe('');
      },
    );
  },
);
