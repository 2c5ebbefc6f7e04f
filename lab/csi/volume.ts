import { mkdirSync } from 'node:fs';
import { shortId } from '../../src/lib/id.ts';
import type { Instance } from './instance.ts';

const gib = 2n ** 30n;

/** A volume on its way through CSI, as an orchestrator would take it. */
export class CsiVolume {
  readonly volumeId: string;
  readonly volumeCapability: object;
  readonly stagingTargetPath: string;
  readonly #instance: Instance;

  private constructor(instance: Instance, volumeId: string, volumeCapability: object) {
    this.#instance = instance;
    this.volumeId = volumeId;
    this.volumeCapability = volumeCapability;
    this.stagingTargetPath = `${instance.scratch}/staging/${volumeId}`;
    mkdirSync(this.stagingTargetPath);
  }

  /** @param extra fields of CreateVolumeRequest instead of those of a volume of 1 GiB */
  static async create(instance: Instance, volumeCapability: object, extra: object = {}): Promise<CsiVolume> {
    const { volume } = await instance.client.controller.createVolume({
      name: `vol-${shortId()}`,
      capacityRange: { requiredBytes: gib },
      volumeCapabilities: [volumeCapability],
      mutableParameters: { recycle: '0' },
      ...extra,
    });
    return new CsiVolume(instance, volume?.volumeId ?? '', volumeCapability);
  }

  target(name = 'pod'): string {
    return `${this.#instance.scratch}/target/${this.volumeId}-${name}`;
  }

  stage(): Promise<unknown> {
    const { volumeId, volumeCapability, stagingTargetPath } = this;
    return this.#instance.client.node.nodeStageVolume({ volumeId, volumeCapability, stagingTargetPath });
  }

  /** @param extra fields of NodePublishVolumeRequest instead of the volume's */
  async publish(name = 'pod', extra: object = {}): Promise<string> {
    const { volumeId, volumeCapability, stagingTargetPath } = this;
    const targetPath = this.target(name);
    await this.#instance.client.node.nodePublishVolume({
      volumeId,
      volumeCapability,
      stagingTargetPath,
      targetPath,
      ...extra,
    });
    return targetPath;
  }

  async unpublish(name = 'pod'): Promise<void> {
    const { volumeId } = this;
    await this.#instance.client.node.nodeUnpublishVolume({ volumeId, targetPath: this.target(name) });
  }

  /** Attach, stage, publish. */
  async use(): Promise<string> {
    const { volumeId, volumeCapability } = this;
    const { client, nodeId } = this.#instance;
    await client.controller.controllerPublishVolume({ volumeId, volumeCapability, nodeId });
    await this.stage();
    return this.publish();
  }

  /** The whole way back, and away. */
  async release(...names: string[]): Promise<void> {
    const { volumeId, stagingTargetPath } = this;
    const { client, nodeId } = this.#instance;
    for (const name of ['pod', ...names]) await this.unpublish(name);
    await client.node.nodeUnstageVolume({ volumeId, stagingTargetPath });
    await client.controller.controllerUnpublishVolume({ volumeId, nodeId });
    await client.controller.deleteVolume({ volumeId });
  }

  async snapshot(): Promise<string> {
    const { snapshot } = await this.#instance.client.controller.createSnapshot({
      name: `snap-${shortId()}`,
      sourceVolumeId: this.volumeId,
    });
    return snapshot?.snapshotId ?? '';
  }
}
