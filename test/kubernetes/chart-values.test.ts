/** Every value of the chart, and every platform, by the real helm. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { PoolRules } from '../../src/model/pool-rule.ts';
import { allApis, chart, containers, type Manifest, missing, names, one, refusal, render } from './chart.ts';

describe.skipIf(missing)(`values of the chart${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let plain: Manifest[];
  let full: Manifest[];
  beforeAll(async () => {
    plain = await render();
    full = await render([], { apis: allApis });
  });

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
    // RKE2 mounts what arguments name; a second mount at that path would be refused with the whole pod.
    expect(data.argument).not.toContain('extra-mount');
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
