/** What the chart renders, by the real helm: every value, every platform, and what must hold whatever the values are. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { binary, kubernetesVersion, notBuilt } from '../../lab/kubernetes/binaries.ts';
import { run, tryRun } from '../../lab/kubernetes/exec.ts';
import { imagePackages } from '../../lab/kubernetes/image/azekura.ts';
import { PoolRules } from '../../src/model/pool-rule.ts';

const root = path.join(import.meta.dirname, '../..');
const chart = path.join(root, 'deploy/chart');
const missing = notBuilt(['helm']).length > 0 ? 'helm is not built (npm run lab -- kubernetes build)' : undefined;

interface Container {
  name: string;
  image: string;
  args: string[];
  env?: { name: string; value?: string }[];
  ports?: { name: string; containerPort: number }[];
  resources: { requests?: object; limits?: object };
  securityContext: { privileged?: boolean; readOnlyRootFilesystem?: boolean };
  volumeMounts: { name: string; mountPath: string; mountPropagation?: string }[];
}
interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: Record<string, unknown> & {
    template: {
      spec: {
        containers: Container[];
        tolerations?: { key: string }[];
        nodeSelector?: object;
        serviceAccountName: string;
        priorityClassName: string;
        imagePullSecrets?: object[];
        volumes: { name: string; hostPath?: { path: string } }[];
      };
    };
  };
  parameters?: Record<string, string>;
  data?: Record<string, string>;
  [field: string]: unknown;
}

const allApis = [
  'snapshot.storage.k8s.io/v1',
  'groupsnapshot.storage.k8s.io/v1',
  'monitoring.coreos.com/v1',
  'storage.k8s.io/v1/VolumeAttributesClass',
];

function helmTemplate(
  sets: readonly string[],
  { apis = [] as readonly string[], kube = kubernetesVersion() } = {},
): string[] {
  return [
    ...[binary('helm'), 'template', 'azekura', chart, '--namespace', 'azekura-system', '--kube-version', kube],
    ...apis.flatMap((api) => ['--api-versions', api]),
    ...sets.flatMap((set) => ['--set-json', set]),
  ];
}

async function render(
  sets: readonly string[] = [],
  options: { apis?: readonly string[]; kube?: string } = {},
): Promise<Manifest[]> {
  const text = await run(helmTemplate(sets, options));
  return parseAllDocuments(text).flatMap((document) => {
    const value = document.toJS() as Manifest | null;
    return value === null ? [] : [value];
  });
}

async function refusal(sets: readonly string[], options: { kube?: string } = {}): Promise<string> {
  const { code, stderr } = await tryRun(helmTemplate(sets, options));
  expect(code).not.toBe(0);
  return stderr;
}

function one(manifests: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = manifests.filter((each) => each.kind === kind && (name === undefined || each.metadata.name === name));
  expect(found.map((each) => `${each.kind}/${each.metadata.name}`)).toHaveLength(1);
  return found[0] as Manifest;
}

function containers(manifests: readonly Manifest[], kind: string): Map<string, Container> {
  return new Map(one(manifests, kind).spec.template.spec.containers.map((each) => [each.name, each]));
}

const names = (manifests: readonly Manifest[], kind: string): string[] =>
  manifests.filter((each) => each.kind === kind).map((each) => each.metadata.name);

describe.skipIf(missing)(`the chart${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let plain: Manifest[];
  let full: Manifest[];
  beforeAll(async () => {
    plain = await render();
    full = await render([], { apis: allApis });
  });

  it('passes helm lint', async () => {
    expect(await run([binary('helm'), 'lint', '--strict', chart])).toContain('0 chart(s) failed');
  });

  it('tells Kubernetes how the driver works', () => {
    expect(one(plain, 'CSIDriver').spec).toEqual({
      attachRequired: true,
      podInfoOnMount: true,
      storageCapacity: true,
      fsGroupPolicy: 'File',
      volumeLifecycleModes: ['Persistent', 'Ephemeral'],
      seLinuxMount: false,
      nodeAllocatableUpdatePeriodSeconds: 60,
    });
  });

  it('names the driver by the name that the driver gives itself', () => {
    const source = readFileSync(path.join(root, 'docs/csi.md'), 'utf8');
    const driver = one(plain, 'CSIDriver').metadata.name;
    expect(source).toContain(`| driver name | \`${driver}\` |`);
    for (const each of full) {
      for (const field of ['provisioner', 'driver', 'driverName'])
        if (each[field] !== undefined) expect(each[field]).toBe(driver);
    }
  });

  it('leaves out what older Kubernetes does not know, and refuses what is too old', async () => {
    const old = await render([], { kube: 'v1.32.0' });
    expect(one(old, 'CSIDriver').spec).not.toHaveProperty('nodeAllocatableUpdatePeriodSeconds');
    expect(names(old, 'VolumeAttributesClass')).toEqual([]);
    expect(await refusal([], { kube: 'v1.31.9' })).toContain('incompatible with Kubernetes v1.31.9');
  });

  it('runs one container on each node, and the standard sidecars beside the controller', () => {
    expect([...containers(full, 'DaemonSet').keys()]).toEqual(['agent']);
    expect([...containers(full, 'Deployment').keys()]).toEqual([
      'controller',
      'provisioner',
      'attacher',
      'resizer',
      'snapshotter',
    ]);
    expect([...containers(plain, 'Deployment').keys()]).not.toContain('snapshotter');
  });

  it('gives host access to the agent alone', () => {
    const controller = one(full, 'Deployment').spec.template.spec;
    expect(controller.volumes.filter((volume) => volume.hostPath !== undefined)).toEqual([]);
    expect(controller).toMatchObject({ securityContext: { runAsNonRoot: true } });
    for (const { securityContext } of controller.containers)
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    expect(containers(full, 'DaemonSet').get('agent')?.securityContext).toEqual({ privileged: true });
  });

  it('asks for resources, priority and an account of its own in every pod', () => {
    for (const [kind, priority, account] of [
      ['Deployment', 'system-cluster-critical', 'azekura-controller'],
      ['DaemonSet', 'system-node-critical', 'azekura-agent'],
    ] as const) {
      const { spec } = one(full, kind).spec.template;
      expect(spec.priorityClassName).toBe(priority);
      expect(spec.serviceAccountName).toBe(account);
      expect(names(full, 'ServiceAccount')).toContain(account);
      for (const { resources } of spec.containers) {
        expect(resources.requests).toMatchObject({ cpu: expect.any(String), memory: expect.any(String) });
        expect(resources.limits).toMatchObject({ memory: expect.any(String) });
      }
    }
  });

  it('puts everything that has a namespace into that of the release', () => {
    const clusterWide = ['CSIDriver', 'StorageClass', 'VolumeAttributesClass', 'VolumeSnapshotClass'].concat(
      ['VolumeGroupSnapshotClass', 'CustomResourceDefinition', 'ClusterRole', 'ClusterRoleBinding'],
      ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding', 'PriorityClass'],
    );
    for (const { kind, metadata } of full)
      expect(`${kind} ${metadata.namespace}`).toBe(
        clusterWide.includes(kind) ? `${kind} undefined` : `${kind} azekura-system`,
      );
  });

  it('never deletes a CRD or makes one of our objects', () => {
    for (const each of full) {
      expect(each.apiVersion).not.toMatch(/^azekura\.dev\//);
      if (each.kind === 'CustomResourceDefinition')
        expect(each.metadata.annotations?.['helm.sh/resource-policy']).toBe('keep');
      // A hook that cannot run is an uninstall that hangs.
      expect(each.metadata.annotations ?? {}).not.toHaveProperty('helm.sh/hook');
    }
  });

  it('mounts the kubelet folder and the data dir under their own paths, and passes mounts on', () => {
    const agent = containers(plain, 'DaemonSet').get('agent');
    for (const each of ['/var/lib/kubelet', '/var/lib/azekura'])
      expect(agent?.volumeMounts).toContainEqual(
        expect.objectContaining({ mountPath: each, mountPropagation: 'Bidirectional' }),
      );
  });

  describe('values', () => {
    it.each([
      ['kubeadm', '/var/lib/kubelet'],
      ['k3s', '/var/lib/kubelet'],
      ['rke2', '/var/lib/kubelet'],
      ['microk8s', '/var/snap/microk8s/common/var/lib/kubelet'],
      ['charmed-kubernetes', '/var/lib/kubelet'],
    ])('platform %s', async (platform, folder) => {
      const manifests = await render([`platform=${JSON.stringify(platform)}`]);
      const agent = containers(manifests, 'DaemonSet').get('agent');
      expect(agent?.args).toContain(`--kubelet-dir=${folder}`);
      expect(agent?.volumeMounts.map((mount) => mount.mountPath)).toContain(folder);
      const hosts = one(manifests, 'DaemonSet').spec.template.spec.volumes.map((volume) => volume.hostPath?.path);
      expect(hosts).toContain(folder);
      // On all of them but MicroK8s, servers carry a taint.
      const keys = (one(manifests, 'DaemonSet').spec.template.spec.tolerations ?? []).map((each) => each.key);
      expect(keys.includes('node-role.kubernetes.io/control-plane')).toBe(platform !== 'microk8s');
    });

    it('image and sidecars', async () => {
      const manifests = await render([
        'image={"repository":"r/azekura","tag":"t","pullPolicy":"Never","pullSecrets":[{"name":"s"}]}',
        'sidecars.attacher={"repository":"r/attacher","tag":"x"}',
      ]);
      for (const kind of ['Deployment', 'DaemonSet'])
        expect(one(manifests, kind).spec.template.spec.imagePullSecrets).toEqual([{ name: 's' }]);
      expect(containers(manifests, 'DaemonSet').get('agent')).toMatchObject({
        image: 'r/azekura:t',
        imagePullPolicy: 'Never',
      });
      const beside = containers(manifests, 'Deployment');
      expect(beside.get('attacher')).toMatchObject({ image: 'r/attacher:x', imagePullPolicy: 'Never' });
      expect(beside.get('resizer')?.image).toMatch(/\/csi-resizer:v/);
      const { appVersion } = parse(readFileSync(path.join(chart, 'Chart.yaml'), 'utf8')) as { appVersion: string };
      expect(containers(plain, 'DaemonSet').get('agent')?.image).toBe(`azekura:${appVersion}`);
    });

    it('reservations', async () => {
      const args = (manifests: readonly Manifest[]) => containers(manifests, 'Deployment').get('controller')?.args;
      expect(args(plain)).not.toContain('--no-reservations');
      expect(args(await render(['reservations=false']))).toContain('--no-reservations');
    });

    it.each(['kubeadm', 'k3s', 'rke2', 'microk8s', 'charmed-kubernetes'])('extender on %s', async (platform) => {
      expect(names(plain, 'Service')).not.toContain('azekura-extender');
      expect(names(plain, 'ConfigMap')).not.toContain('azekura-scheduler');
      const extender = '{"enabled":true,"clusterIP":"10.96.0.99"}';
      const manifests = await render([`platform=${JSON.stringify(platform)}`, `extender=${extender}`]);
      expect(containers(manifests, 'Deployment').get('controller')?.args).toContain('--extender-listen=0.0.0.0:7846');
      const service = one(manifests, 'Service', 'azekura-extender').spec as object;
      expect(service).toMatchObject({ clusterIP: '10.96.0.99', sessionAffinity: 'ClientIP' });
      const { data } = one(manifests, 'ConfigMap', 'azekura-scheduler') as unknown as {
        data: { file: string; argument: string; 'config.yaml': string };
      };
      expect(data.file).toMatch(/^\/[a-z0-9/.-]+\.yaml$/);
      expect(data.argument).toContain(`config=${data.file}`);
      const config = parse(data['config.yaml']) as { clientConnection: { kubeconfig: string }; extenders: object[] };
      expect(config.clientConnection.kubeconfig).toMatch(/^\//);
      expect(config.extenders).toMatchObject([
        { urlPrefix: 'http://10.96.0.99:7846', ignorable: true, nodeCacheCapable: true },
      ]);
      const policy = JSON.stringify(one(manifests, 'NetworkPolicy', 'azekura-controller'));
      expect(policy).toContain('"extender"');
    });

    it('controller', async () => {
      const manifests = await render(['controller={"replicas":3,"resources":{"requests":{"cpu":"1","memory":"2Gi"}}}']);
      expect(one(manifests, 'Deployment').spec.replicas).toBe(3);
      expect(containers(manifests, 'Deployment').get('controller')?.resources.requests).toEqual({
        cpu: '1',
        memory: '2Gi',
      });
      // A drain is never blocked.
      expect(one(plain, 'PodDisruptionBudget').spec).toMatchObject({ maxUnavailable: 1 });
    });

    it('agent', async () => {
      const manifests = await render([
        'agent={"dataDir":"/srv/azekura/$(NODE_NAME)","nodeSelector":{"disk":"big"},"tolerations":[{"key":"storage"}],"resources":{"requests":{"memory":"1Gi"}}}',
      ]);
      const agent = containers(manifests, 'DaemonSet').get('agent');
      expect(agent?.args).toContain('--data-dir=/srv/azekura/$(NODE_NAME)');
      expect(agent?.volumeMounts.map((mount) => mount.mountPath)).toContain('/srv/azekura');
      expect(agent?.resources.requests).toMatchObject({ memory: '1Gi' });
      const { spec } = one(manifests, 'DaemonSet').spec.template;
      expect(spec.nodeSelector).toEqual({ disk: 'big' });
      expect(spec.tolerations).toContainEqual({ key: 'storage' });
    });

    it('pools', async () => {
      const given = (manifests: readonly Manifest[]): unknown => {
        const args = containers(manifests, 'Deployment').get('controller')?.args ?? [];
        return JSON.parse(args.find((each) => each.startsWith('--pools='))?.slice('--pools='.length) ?? '');
      };
      expect(PoolRules.parse(given(plain))).toEqual([
        { name: 'data', nodeSelector: {}, source: { kind: 'share', percent: 30, maximum: '100Gi' } },
      ]);
      expect(given(await render(['pools=[]']))).toEqual([]);
      const named = [
        { name: 'srv', nodeSelector: { disk: 'big' }, source: { kind: 'directory', path: '/srv/data' } },
        { name: 'image', source: { kind: 'image', path: '/images/pool.img', sizeBytes: 1e9 }, overcommitRatio: 5 },
        { name: 'inside', source: { kind: 'directory', path: '/var/lib/azekura/pools/x' }, acceptNoJournal: true },
        { name: 'disk', source: { kind: 'device', path: '/dev/disk/by-id/<x>&y', confirmedId: 'S1' } },
        { name: 'disks', source: { kind: 'disks', disks: ['/dev/a', '/dev/b'], layout: 'mirror' }, engine: 'lvm' },
        { name: 'group', source: { kind: 'volumeGroup', group: 'vg0' }, deviceClass: 'ssd', reservePercent: 0 },
      ];
      const manifests = await render([`pools=${JSON.stringify(named)}`]);
      expect(given(manifests)).toEqual(named);
      expect(PoolRules.safeParse(given(manifests)).success).toBe(true);
      const mounts = containers(manifests, 'DaemonSet').get('agent')?.volumeMounts ?? [];
      const ofPools = mounts.filter((mount) => mount.name.startsWith('pool-'));
      expect(ofPools).toEqual([
        { name: 'pool-srv', mountPath: '/srv/data', mountPropagation: 'Bidirectional' },
        { name: 'pool-image', mountPath: '/images', mountPropagation: 'Bidirectional' },
      ]);
      const volumes = one(manifests, 'DaemonSet').spec.template.spec.volumes;
      expect(volumes.filter((each) => each.name.startsWith('pool-')).map((each) => each.hostPath?.path)).toEqual([
        '/srv/data',
        '/images',
      ]);
    });

    it('storageClasses', async () => {
      const classes = plain.filter((each) => each.kind === 'StorageClass');
      const isDefault = (each: Manifest): boolean =>
        each.metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true';
      expect(classes.filter(isDefault).map((each) => each.metadata.name)).toEqual(['azekura']);
      expect(one(plain, 'StorageClass', 'azekura')).toMatchObject({
        reclaimPolicy: 'Delete',
        volumeBindingMode: 'WaitForFirstConsumer',
        allowVolumeExpansion: true,
      });
      expect(one(plain, 'StorageClass', 'azekura-retain')).toMatchObject({ reclaimPolicy: 'Retain' });
      const own = await render([
        'storageClasses=[{"name":"fast","volumeBindingMode":"Immediate","parameters":{"class":"c"},"mountOptions":["noatime"]}]',
      ]);
      expect(one(own, 'StorageClass')).toMatchObject({
        volumeBindingMode: 'Immediate',
        parameters: { class: 'c' },
        mountOptions: ['noatime'],
      });
      expect(await refusal(['storageClasses=[{"name":"a","default":true},{"name":"b","default":true}]'])).toContain(
        'only one can be the default',
      );
    });

    it('snapshots', async () => {
      expect(names(plain, 'VolumeSnapshotClass')).toEqual([]);
      expect(names(full, 'VolumeSnapshotClass')).toEqual(['azekura']);
      expect(names(full, 'VolumeGroupSnapshotClass')).toEqual(['azekura']);
      expect(containers(full, 'Deployment').get('snapshotter')?.args).toContain(
        '--feature-gates=CSIVolumeGroupSnapshot=true',
      );
      const off = await render(['snapshots.mode="off"'], { apis: allApis });
      expect(names(off, 'VolumeSnapshotClass')).toEqual([]);
      expect([...containers(off, 'Deployment').keys()]).not.toContain('snapshotter');
      const metadata = await render(['snapshots={"mode":"on","metadataTlsSecret":"cert"}']);
      expect(containers(metadata, 'Deployment').get('snapshot-metadata')?.volumeMounts).toContainEqual(
        expect.objectContaining({ name: 'metadata-tls' }),
      );
      expect(names(metadata, 'Service')).toContain('azekura-snapshot-metadata');
    });

    it('networkPolicy', async () => {
      expect(names(plain, 'NetworkPolicy')).toEqual(['azekura-agent', 'azekura-controller']);
      expect(names(await render(['networkPolicy.enabled=false']), 'NetworkPolicy')).toEqual([]);
    });

    it('monitoring', async () => {
      for (const kind of ['ServiceMonitor', 'PodMonitor', 'PrometheusRule']) {
        expect(names(plain, kind)).toEqual([]);
        expect(names(full, kind)).toHaveLength(1);
        expect(names(await render(['monitoring.mode="on"']), kind)).toHaveLength(1);
        expect(names(await render(['monitoring.mode="off"'], { apis: allApis }), kind)).toEqual([]);
      }
      const [rule] = (await render(['monitoring={"mode":"on","runbooks":"https://wiki/"}'])).filter(
        (each) => each.kind === 'PrometheusRule',
      );
      expect(JSON.stringify(rule)).toContain('"runbook_url":"https://wiki/pool-full.md"');
    });

    it.each([
      ['platform="openshift"', 'platform'],
      ['agent.dataDir="relative"', 'dataDir'],
      ['controller.replicas=0', 'replicas'],
      ['contoller={}', 'contoller'],
      ['pools=[{"name":"a"}]', 'source'],
      ['pools=[{"name":"a","source":{"kind":"share","percent":95}}]', 'percent'],
      ['pools=[{"name":"a","source":{"kind":"device","path":"/srv/x"}}]', 'source'],
    ])('refuses %s', async (set, word) => {
      expect(await refusal([set])).toContain(word);
    });

    it('are all in the schema, and all of the schema are in values.yaml', () => {
      const values = parse(readFileSync(path.join(chart, 'values.yaml'), 'utf8')) as Record<string, unknown>;
      const schema = JSON.parse(readFileSync(path.join(chart, 'values.schema.json'), 'utf8')) as {
        properties: Record<string, unknown>;
      };
      expect(
        Object.keys(schema.properties)
          .filter((name) => name !== 'global')
          .sort(),
      ).toEqual(Object.keys(values).sort());
    });
  });

  describe('alerts and dashboard', () => {
    const alerts = (
      parse(readFileSync(path.join(chart, 'files/alerts.yaml'), 'utf8')) as {
        alerts: { alert: string; expr: string; runbook: string }[];
      }
    ).alerts;
    const dashboard = JSON.parse(readFileSync(path.join(chart, 'files/dashboard.json'), 'utf8')) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };

    it.each(alerts.map((each) => [each.alert, each.runbook]))('%s has the runbook %s', (_, runbook) => {
      expect(existsSync(path.join(root, 'docs/operations', runbook))).toBe(true);
    });

    it('use metrics that we have', async () => {
      const source = await run(['grep', '-rhoE', "name: '[a-z_]+'", path.join(root, 'src')]);
      const known = new Set([...source.matchAll(/'([a-z_]+)'/g)].map((match) => match[1]));
      const expressions = [
        ...alerts.map((each) => each.expr),
        ...dashboard.panels.flatMap((p) => p.targets.map((t) => t.expr)),
      ];
      for (const expression of expressions)
        for (const [metric] of expression.matchAll(/\b(azekura|process|nodejs)_[a-z_]+/g))
          expect([...known], expression).toContain(metric.replace(/_bucket$/, ''));
    });
  });
});

describe('the image', () => {
  const containerfile = readFileSync(path.join(root, 'deploy/image/Containerfile'), 'utf8');

  it('installs the packages of the list, which has the programs that `azekura up` asks for', () => {
    expect(containerfile).toContain('xargs apt-get install -y --no-install-recommends < /tmp/packages');
    const packages = imagePackages();
    expect(packages).toEqual([...packages].sort());
    expect(packages).toEqual(expect.arrayContaining(['xfsprogs', 'e2fsprogs', 'util-linux', 'mount']));
  });

  it('puts ours together as the lab does', () => {
    expect(containerfile).toContain('node deploy/image/stage.mjs /app');
  });
});
