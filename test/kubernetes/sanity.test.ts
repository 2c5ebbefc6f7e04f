/**
 * csi-sanity against the driver in the cluster: the controller's socket in its pod, the node's where the kubelet has it.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { labMissing } from '../../lab/kubernetes/index.ts';
import { systemNamespace } from '../../lab/kubernetes/install.ts';
import { buildSanity } from '../../lab/sanity/build.ts';
import { readSanityReport } from '../../lab/sanity/report.ts';
import { sharedLab, traces } from './kit.ts';

const missing = labMissing({ nodes: 3 });

it.skipIf(missing)(
  `csi-sanity passes in the cluster${missing ? ` (skipped: ${missing})` : ''}`,
  async () => {
    const cluster = await sharedLab();
    const before = await traces(cluster);
    const selector = 'app.kubernetes.io/component=controller';
    const answer = await cluster.kubectl(['-n', systemNamespace, 'get', 'pods', '-l', selector, '-o', 'json']);
    const [pod] = (JSON.parse(answer) as { items: { metadata: { uid: string }; spec: { nodeName: string } }[] }).items;
    if (!pod) throw new Error('there is no controller');
    const node = pod.spec.nodeName;
    const folder = mkdtempSync(path.join(cluster.folder, 'sanity-'));
    try {
      const file = (name: string, content: object): string => {
        writeFileSync(path.join(folder, name), JSON.stringify(content));
        return path.join(folder, name);
      };
      const emptyDir = `/var/lib/kubelet/pods/${pod.metadata.uid}/volumes/kubernetes.io~empty-dir`;
      // Inside the kubelet's folder: the agent mounts nowhere else.
      const places = '/var/lib/kubelet/sanity';
      await cluster.member(node).exec(['mkdir', '-p', places]);
      const argv = [
        // The folder of this process is not there in the node.
        ...['env', '--chdir=/', await buildSanity(true)],
        ...['--csi.endpoint', '/var/lib/kubelet/plugins/csi.azekura.dev/csi.sock'],
        ...['--csi.controllerendpoint', `${emptyDir}/run/csi/csi.sock`],
        ...['--csi.mountdir', `${places}/mount`, '--csi.stagingdir', `${places}/staging`],
        ...['--csi.testvolumesize', String(2 ** 30), '--csi.testvolumeexpandsize', String(2 ** 31)],
        // The tool has one node: what it makes must lie there.
        ...['--csi.testvolumeparameters', file('parameters.yaml', { recycle: '0', pool: `${node}-data` })],
        ...['--csi.testvolumemutableparameters', file('mutable.yaml', { recycle: '0' })],
        ...['--ginkgo.no-color', '--ginkgo.json-report', path.join(folder, 'report.json')],
      ];
      const { code, stdout } = await cluster.member(node).tryExec(argv, { timeoutMs: 400_000 });
      const report = readSanityReport(path.join(folder, 'report.json'));
      expect(report.failed, stdout.slice(-20_000)).toEqual([]);
      // The agents of a cluster set no limit of attachments.
      expect(report.skipped).toEqual([expect.stringContaining('attach limit')]);
      expect(report.passed).toHaveLength(101);
      expect(code).toBe(0);
      await expect.poll(() => traces(cluster), { timeout: 60_000 }).toBe(before);
      await cluster.member(node).exec(['rm', '-r', '--one-file-system', places]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  600_000,
);
