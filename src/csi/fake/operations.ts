import { nodePresence } from '../../control/operations/silent-node.ts';
import { stampedStore } from '../../control/operations/stamped-store.ts';
import type { AttachRequest, CreateVolumeRequest, Operations } from '../../control/operations.ts';
import type { View } from '../../control/view.ts';
import { shortId } from '../../lib/id.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Attachment, Resource, Volume } from '../../model/kinds.ts';
import { attachmentName, finalizers, memberSnapshotName } from '../../model/names.ts';
import { change } from '../../store/change.ts';
import type { Change, Store } from '../../store/store.ts';

/** The part of Operations that CSI uses, on a real store: it writes specs as the real ones do, and places on one node. */
export class FakeOperations {
  readonly #store: Store;
  readonly #view: View;
  readonly #nodeName: string;
  /** Bytes that the one pool has; what does not fit is refused. */
  capacityBytes = 2 ** 50;
  /** Requests that reached it, newest last. */
  readonly asked: { readonly method: string; readonly argument: unknown }[];

  constructor(
    deps: { readonly store: Store; readonly view: View; readonly nodeName: string },
    asked: { readonly method: string; readonly argument: unknown }[] = [],
  ) {
    this.asked = asked;
    this.#store = deps.store;
    this.#view = deps.view;
    this.#nodeName = deps.nodeName;
  }

  /** As Operations. */
  as({ requestId }: { readonly requestId: string }): Operations {
    const store = stampedStore(this.#store, requestId);
    const operations = new FakeOperations({ store, view: this.#view, nodeName: this.#nodeName }, this.asked);
    operations.capacityBytes = this.capacityBytes;
    return operations.asOperations();
  }

  /** As Operations; what CSI has no use for is not there, and a call to it fails the test. */
  asOperations(): Operations {
    return this as unknown as Operations;
  }

  async createVolume(request: CreateVolumeRequest): Promise<{ volume: Volume }> {
    this.asked.push({ method: 'createVolume', argument: request });
    const { sizeBytes = 0 } = request;
    const elsewhere = request.nodeNames && !request.nodeNames.includes(this.#nodeName);
    if (elsewhere)
      throw blamed('FailedPrecondition', makeCause('PoolNotFound', { reasons: 'no admitted node has a pool' }));
    if (sizeBytes > this.capacityBytes)
      throw blamed(
        'ResourceExhausted',
        makeCause('PoolFull', { pool: 'main', wanted: sizeBytes, free: this.capacityBytes }),
      );
    for (const key of Object.keys(request.parameters ?? {}))
      throw new AzekuraError('InvalidArgument', `class parameter "${key}" is unknown`);
    const volume = await this.#store.create({
      kind: 'Volume',
      metadata: { name: request.name, finalizers: [finalizers.volume], annotations: { ...request.annotations } },
      spec: {
        sizeBytes,
        mode: request.mode ?? 'filesystem',
        policy: {
          ...(request.filesystem ? { filesystem: request.filesystem } : {}),
          ...(request.provisioning ? { provisioning: request.provisioning } : {}),
        },
        ...(request.className ? { className: request.className } : {}),
        ...(request.source ? { source: request.source } : {}),
        ...(request.nodeNames ? { nodeNames: [...request.nodeNames] } : {}),
        ...(request.recycleMs === undefined ? {} : { recycleMs: request.recycleMs }),
        ...(request.claim ? { claim: request.claim } : {}),
      },
    });
    return { volume };
  }

  async expandVolume(name: string, sizeBytes: number): Promise<Volume> {
    if (sizeBytes > this.capacityBytes)
      throw blamed(
        'ResourceExhausted',
        makeCause('PoolFull', { pool: 'main', wanted: sizeBytes, free: this.capacityBytes }),
      );
    return this.#edit('Volume', name, (volume) => ({ spec: { ...volume.spec, sizeBytes } }));
  }

  async modifyVolume(name: string, changes: { readonly recycleMs?: number }): Promise<Volume> {
    return this.#edit('Volume', name, (volume) => ({ spec: { ...volume.spec, ...changes } }));
  }

  async deleteVolume(name: string, options: { readonly skipRecycleBin?: boolean } = {}): Promise<void> {
    this.asked.push({ method: 'deleteVolume', argument: { name, ...options } });
    const volume = await this.#store.find('Volume', name);
    if (!volume) return;
    const used = (await this.#attachments(volume)).map(({ spec }) => spec.nodeName);
    if (used.length > 0)
      throw blamed('FailedPrecondition', makeCause('InUse', { what: `volume ${name}`, holder: used.join(', ') }));
    await this.#store.delete('Volume', name);
  }

  async attachVolume(name: string, request: AttachRequest): Promise<Attachment> {
    return this.#attach(name, request, 'publish', undefined);
  }

  async stageVolume(name: string, request: AttachRequest & { readonly stagingPath?: string }): Promise<Attachment> {
    return this.#attach(name, request, 'stage', request.stagingPath);
  }

  async #attach(
    name: string,
    request: AttachRequest,
    origin: 'publish' | 'stage',
    stagingPath: string | undefined,
  ): Promise<Attachment> {
    const volume = await this.#store.get('Volume', name);
    const all = await this.#attachments(volume);
    const other = all.find(({ spec }) => spec.nodeName !== request.nodeName);
    if (other)
      throw new AzekuraError('FailedPrecondition', `volume ${name} is attached to node ${other.spec.nodeName}`);
    const present = all[0];
    const staged = origin === 'stage';
    if (present) {
      const same =
        present.spec.access === request.access &&
        present.spec.readOnly === request.readOnly &&
        present.spec.accessMode === request.accessMode;
      if (!same) throw new AzekuraError('AlreadyExists', `volume ${name} is attached otherwise`);
      if (staged && present.spec.staged && present.spec.stagingPath !== stagingPath)
        throw new AzekuraError('AlreadyExists', `volume ${name} is staged at ${present.spec.stagingPath}`);
      return this.#edit('Attachment', present.metadata.name, ({ spec }) => ({
        spec: {
          ...spec,
          observeRequestId: request.observeRequestId,
          ...(staged
            ? { staged, mountOptions: [...request.mountOptions], ...(stagingPath ? { stagingPath } : {}) }
            : { origin: 'publish' as const }),
        },
      }));
    }
    const { items } = await this.#store.list('Attachment');
    if (
      request.maxPerNode &&
      items.filter(({ spec }) => spec.nodeName === request.nodeName).length >= request.maxPerNode
    )
      throw new AzekuraError(
        'ResourceExhausted',
        `node ${request.nodeName} has ${request.maxPerNode} volumes attached already`,
      );
    const volumeId = volume.status.volumeId ?? '';
    return this.#store.create({
      kind: 'Attachment',
      metadata: { name: attachmentName(volumeId, request.nodeName), finalizers: [finalizers.agent] },
      spec: {
        volumeName: name,
        volumeUid: volume.metadata.uid,
        volumeId,
        nodeName: request.nodeName,
        access: request.access,
        readOnly: request.readOnly,
        mountOptions: [...request.mountOptions],
        origin,
        staged,
        ...(stagingPath ? { stagingPath } : {}),
        ...(request.accessMode ? { accessMode: request.accessMode } : {}),
        observeRequestId: request.observeRequestId,
      },
    });
  }

  async publishPath(
    name: string,
    request: {
      nodeName: string;
      path: string;
      readOnly: boolean;
      exclusive: boolean;
      mountGroup?: number;
      observeRequestId: string;
    },
  ): Promise<Attachment> {
    const attachment = await this.#attachmentOn(name, request.nodeName);
    if (!attachment?.spec.staged) throw new AzekuraError('FailedPrecondition', `volume ${name} is not staged`);
    return this.#edit('Attachment', attachment.metadata.name, ({ spec }) => {
      const present = spec.published.find(({ path }) => path === request.path);
      if (present && (present.readOnly !== request.readOnly || present.mountGroup !== request.mountGroup))
        throw new AzekuraError('AlreadyExists', 'published otherwise');
      if (!present && request.exclusive && spec.published.length > 0)
        throw new AzekuraError('FailedPrecondition', `volume ${name} is published at another path`);
      const published = present
        ? spec.published
        : [
            ...spec.published,
            {
              path: request.path,
              readOnly: request.readOnly,
              ...(request.mountGroup === undefined ? {} : { mountGroup: request.mountGroup }),
            },
          ];
      return { spec: { ...spec, published, observeRequestId: request.observeRequestId } };
    });
  }

  async unpublishPath(name: string, request: { nodeName: string; path: string }): Promise<Attachment | undefined> {
    const attachment = await this.#attachmentOn(name, request.nodeName);
    if (!attachment) return undefined;
    return this.#edit('Attachment', attachment.metadata.name, ({ spec }) => ({
      spec: { ...spec, published: spec.published.filter(({ path }) => path !== request.path) },
    }));
  }

  async unstageVolume(name: string, request: { nodeName: string }): Promise<Attachment | undefined> {
    const attachment = await this.#attachmentOn(name, request.nodeName);
    if (!attachment) return undefined;
    if (attachment.spec.published.length > 0)
      throw new AzekuraError('FailedPrecondition', `volume ${name} is published`);
    if (attachment.spec.origin === 'stage') {
      await this.#store.delete('Attachment', attachment.metadata.name);
      return attachment;
    }
    return this.#edit('Attachment', attachment.metadata.name, ({ spec: { stagingPath: _, ...spec } }) => ({
      spec: { ...spec, staged: false },
    }));
  }

  async detachVolume(
    name: string,
    request: { nodeName?: string; volumeId?: string },
  ): Promise<{ unattended: string[] }> {
    const unattended: string[] = [];
    const volume = await this.#store.find('Volume', name);
    const { volumeId = volume?.status.volumeId ?? '' } = request;
    const { items } = await this.#store.list('Attachment', { fields: { 'spec.volumeId': volumeId } });
    for (const { metadata, spec } of items) {
      if (request.nodeName !== undefined && spec.nodeName !== request.nodeName) continue;
      const deps = { store: this.#store, view: this.#view };
      const presence = await nodePresence(deps, spec.nodeName, spec.nodeName === this.#nodeName);
      if (presence === 'live' && (spec.staged || spec.published.length > 0))
        throw new AzekuraError('FailedPrecondition', `volume ${name} is staged`);
      await this.#store.delete('Attachment', metadata.name);
      if (presence !== 'live') unattended.push(metadata.name);
    }
    return { unattended };
  }

  async createSnapshot(request: {
    name: string;
    volumeName: string;
    groupName?: string;
    annotations?: Readonly<Record<string, string>>;
  }) {
    this.asked.push({ method: 'createSnapshot', argument: request });
    const volume = await this.#store.get('Volume', request.volumeName);
    return this.#store.create({
      kind: 'Snapshot',
      metadata: { name: request.name, finalizers: [finalizers.agent], annotations: { ...request.annotations } },
      spec: {
        volumeName: request.volumeName,
        volumeUid: volume.metadata.uid,
        ...(volume.status.volumeId ? { volumeId: volume.status.volumeId } : {}),
        snapshotId: shortId(),
        nodeName: this.#nodeName,
        poolName: 'main',
        ...(request.groupName ? { groupName: request.groupName } : {}),
      },
    });
  }

  async deleteSnapshot(name: string): Promise<void> {
    await this.#store.delete('Snapshot', name);
  }

  async createSnapshotGroup(request: {
    name: string;
    volumeNames: readonly string[];
    annotations?: Readonly<Record<string, string>>;
  }) {
    const group = await this.#store.create({
      kind: 'SnapshotGroup',
      metadata: { name: request.name, finalizers: [finalizers.group], annotations: { ...request.annotations } },
      spec: { volumeNames: [...request.volumeNames] },
    });
    for (const volumeName of request.volumeNames)
      await this.createSnapshot({
        name: memberSnapshotName(request.name, volumeName),
        volumeName,
        groupName: request.name,
      });
    return group;
  }

  async deleteSnapshotGroup(name: string): Promise<void> {
    for (const snapshot of this.#view.snapshots.list())
      if (snapshot.spec.groupName === name) await this.#store.delete('Snapshot', snapshot.metadata.name);
    await this.#store.delete('SnapshotGroup', name);
  }

  async #attachments(volume: Volume): Promise<Attachment[]> {
    const { items } = await this.#store.list('Attachment');
    return items.filter(({ spec }) => spec.volumeId === volume.status.volumeId);
  }

  async #attachmentOn(name: string, nodeName: string): Promise<Attachment | undefined> {
    const volume = await this.#store.get('Volume', name);
    return (await this.#attachments(volume)).find(({ spec }) => spec.nodeName === nodeName);
  }

  async #edit<K extends 'Volume' | 'Attachment'>(
    kind: K,
    name: string,
    edit: (object: Resource<K>) => Change<K>,
  ): Promise<Resource<K>> {
    const changed = await change(this.#store, kind, name, edit);
    if (!changed) throw new AzekuraError('NotFound', `${kind} ${name} does not exist`);
    return changed;
  }
}
