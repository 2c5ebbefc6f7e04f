/**
 * What a CSI driver must answer, and the state that it must be in afterwards, for any sequence of calls: small enough to be
 * read and believed. Calls are idempotent, so that a call which was interrupted and repeated counts once.
 */
import type { CsiClient } from './client.ts';
import { mountCapability } from './instance.ts';

export interface ModelVolume {
  handle: string;
  sizeMib: number;
  source: string | undefined;
  /** By ControllerPublishVolume or NodeStageVolume. */
  attachedBy: 'publish' | 'stage' | undefined;
  staged: boolean;
  readonly targets: Set<string>;
}

/** Everything that is there. */
export class Model {
  readonly volumes = new Map<string, ModelVolume>();
  readonly snapshots = new Map<string, { handle: string; volumeHandle: string; sizeMib: number }>();
  /** Handles of what was deleted, to be asked for again. */
  readonly pastVolumes = new Map<string, string>();
  readonly pastSnapshots = new Map<string, string>();

  volumeHandle(name: string): string {
    return this.volumes.get(name)?.handle ?? this.pastVolumes.get(name) ?? 'unknown';
  }

  snapshotHandle(name: string): string {
    return this.snapshots.get(name)?.handle ?? this.pastSnapshots.get(name) ?? 'unknown';
  }

  hasSnapshots(volume: ModelVolume): boolean {
    return [...this.snapshots.values()].some(({ volumeHandle }) => volumeHandle === volume.handle);
  }
}

/** One call, as data, so that a sequence of them can be shrunk and printed. */
export type Command =
  | {
      readonly do: 'createVolume';
      readonly name: string;
      readonly sizeMib: number;
      readonly snapshot?: string | undefined;
    }
  | { readonly do: 'deleteVolume'; readonly name: string }
  | { readonly do: 'publishController' | 'unpublishController' | 'stage' | 'unstage'; readonly name: string }
  | { readonly do: 'publish' | 'unpublish'; readonly name: string; readonly target: string }
  | { readonly do: 'expand'; readonly name: string; readonly sizeMib: number }
  | { readonly do: 'createSnapshot'; readonly snapshot: string; readonly name: string }
  | { readonly do: 'deleteSnapshot'; readonly snapshot: string };

/** The world in which the calls are made. */
export interface World {
  readonly client: CsiClient;
  readonly nodeId: string;
  /** Folder of staging and target paths. */
  readonly scratch: string;
  /** Of the names and paths of one player, so that several can play at the same time. */
  readonly prefix: string;
}

/** A call that can be made any number of times, the answer that it must get, and what it does to the model. */
export interface Step {
  call(options: { signal?: AbortSignal; deadlineMs?: number }): Promise<unknown>;
  readonly expected: string;
  apply(answer: unknown): void;
}

const mib = 1 << 20;
const capability = mountCapability();

/**
 * @param command in the present state of the model
 * @param csiName the name that CreateVolume gives; command.name is its short form, for maps and paths
 */
export function stepOf(command: Command, model: Model, world: World, csiName: string): Step {
  switch (command.do) {
    case 'createVolume':
      return createVolume(command, model, world, csiName);
    case 'createSnapshot':
    case 'deleteSnapshot':
      return snapshotStep(command, model, world);
    case 'deleteVolume':
    case 'expand':
      return changeVolume(command, model, world);
    default:
      return useVolume(command, model, world);
  }
}

export const stagingPath = ({ scratch, prefix }: World, name: string) => `${scratch}/staging/${prefix}${name}`;
const targetPath = ({ scratch, prefix }: World, name: string, target: string) =>
  `${scratch}/target/${prefix}${name}-${target}`;

function createVolume(
  command: Extract<Command, { do: 'createVolume' }>,
  model: Model,
  { client }: World,
  csiName: string,
): Step {
  const { name, sizeMib } = command;
  const existing = model.volumes.get(name);
  const snapshot = command.snapshot === undefined ? undefined : model.snapshots.get(command.snapshot);
  const source = command.snapshot === undefined ? undefined : model.snapshotHandle(command.snapshot);
  const request = {
    name: csiName,
    capacityRange: { requiredBytes: BigInt(sizeMib * mib) },
    volumeCapabilities: [capability],
    mutableParameters: { recycle: '0' },
    ...(source === undefined
      ? {}
      : { volumeContentSource: { type: { case: 'snapshot' as const, value: { snapshotId: source } } } }),
  };
  const expected = () => {
    if (existing && existing.source === source) return sizeMib <= existing.sizeMib ? 'OK' : 'ALREADY_EXISTS';
    if (source !== undefined && !snapshot) return 'NOT_FOUND';
    // A name that stands for something else is looked at after the request itself.
    if (snapshot && sizeMib < snapshot.sizeMib) return 'OUT_OF_RANGE';
    return existing ? 'ALREADY_EXISTS' : 'OK';
  };
  return {
    call: (options) => client.controller.createVolume(request, options),
    expected: expected(),
    apply: (answer) => {
      const { volume } = answer as { volume?: { volumeId: string; capacityBytes: bigint } };
      const handle = volume?.volumeId ?? '';
      if (existing) {
        if (existing.handle !== handle) throw new Error(`volume ${name} has got another handle`);
        return;
      }
      if (volume?.capacityBytes !== BigInt(sizeMib * mib))
        throw new Error(`volume ${name} has ${volume?.capacityBytes} bytes`);
      model.volumes.set(name, { handle, sizeMib, source, attachedBy: undefined, staged: false, targets: new Set() });
    },
  };
}

function snapshotStep(
  command: Extract<Command, { do: 'createSnapshot' | 'deleteSnapshot' }>,
  model: Model,
  { client, prefix }: World,
): Step {
  const { snapshot: name } = command;
  const existing = model.snapshots.get(name);
  if (command.do === 'deleteSnapshot') {
    const snapshotId = model.snapshotHandle(name);
    return {
      call: (options) => client.controller.deleteSnapshot({ snapshotId }, options),
      expected: 'OK',
      apply: () => {
        if (existing) model.pastSnapshots.set(name, existing.handle);
        model.snapshots.delete(name);
      },
    };
  }
  const volume = model.volumes.get(command.name);
  const sourceVolumeId = model.volumeHandle(command.name);
  return {
    call: (options) => client.controller.createSnapshot({ name: `${prefix}${name}`, sourceVolumeId }, options),
    expected: existing
      ? existing.volumeHandle === sourceVolumeId
        ? 'OK'
        : 'ALREADY_EXISTS'
      : volume
        ? 'OK'
        : 'NOT_FOUND',
    apply: (answer) => {
      const { snapshot } = answer as { snapshot?: { snapshotId: string; readyToUse: boolean } };
      if (!snapshot?.readyToUse) throw new Error(`snapshot ${name} is not ready`);
      if (existing && existing.handle !== snapshot.snapshotId)
        throw new Error(`snapshot ${name} has got another handle`);
      if (volume && !existing)
        model.snapshots.set(name, {
          handle: snapshot.snapshotId,
          volumeHandle: volume.handle,
          sizeMib: volume.sizeMib,
        });
    },
  };
}

function changeVolume(
  command: Extract<Command, { do: 'deleteVolume' | 'expand' }>,
  model: Model,
  { client }: World,
): Step {
  const { name } = command;
  const volume = model.volumes.get(name);
  const volumeId = model.volumeHandle(name);
  if (command.do === 'expand') {
    const { sizeMib } = command;
    const capacityRange = { requiredBytes: BigInt(sizeMib * mib) };
    return {
      call: (options) => client.controller.controllerExpandVolume({ volumeId, capacityRange }, options),
      expected: volume ? 'OK' : 'NOT_FOUND',
      apply: (answer) => {
        if (volume) volume.sizeMib = Math.max(volume.sizeMib, sizeMib);
        const { capacityBytes } = answer as { capacityBytes: bigint };
        if (capacityBytes !== BigInt((volume?.sizeMib ?? 0) * mib))
          throw new Error(`volume ${name} has ${capacityBytes} bytes`);
      },
    };
  }
  const busy = volume !== undefined && (volume.attachedBy !== undefined || model.hasSnapshots(volume));
  return {
    call: (options) => client.controller.deleteVolume({ volumeId }, options),
    expected: busy ? 'FAILED_PRECONDITION' : 'OK',
    apply: () => {
      if (volume) model.pastVolumes.set(name, volume.handle);
      model.volumes.delete(name);
    },
  };
}

type UseCommand = Extract<
  Command,
  { do: 'publishController' | 'unpublishController' | 'stage' | 'unstage' | 'publish' | 'unpublish' }
>;

function useVolume(command: UseCommand, model: Model, world: World): Step {
  const { name } = command;
  const { client, nodeId } = world;
  const volume = model.volumes.get(name);
  const volumeId = model.volumeHandle(name);
  const stagingTargetPath = stagingPath(world, name);
  const path = 'target' in command ? targetPath(world, name, command.target) : '';
  switch (command.do) {
    case 'publishController':
      return {
        call: (options) =>
          client.controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability: capability }, options),
        expected: volume ? 'OK' : 'NOT_FOUND',
        apply: () => {
          if (volume) volume.attachedBy = 'publish';
        },
      };
    case 'unpublishController':
      return {
        call: (options) => client.controller.controllerUnpublishVolume({ volumeId, nodeId }, options),
        expected: volume?.staged ? 'FAILED_PRECONDITION' : 'OK',
        apply: () => {
          if (volume) volume.attachedBy = undefined;
        },
      };
    case 'stage':
      return {
        call: (options) =>
          client.node.nodeStageVolume({ volumeId, stagingTargetPath, volumeCapability: capability }, options),
        expected: volume ? 'OK' : 'NOT_FOUND',
        apply: () => {
          if (!volume) return;
          volume.staged = true;
          volume.attachedBy ??= 'stage';
        },
      };
    case 'unstage':
      return {
        call: (options) => client.node.nodeUnstageVolume({ volumeId, stagingTargetPath }, options),
        expected: volume && volume.targets.size > 0 ? 'FAILED_PRECONDITION' : 'OK',
        apply: () => {
          if (!volume) return;
          volume.staged = false;
          if (volume.attachedBy === 'stage') volume.attachedBy = undefined;
        },
      };
    case 'publish':
      return {
        call: (options) =>
          client.node.nodePublishVolume(
            { volumeId, stagingTargetPath, targetPath: path, volumeCapability: capability },
            options,
          ),
        expected: volume ? (volume.staged ? 'OK' : 'FAILED_PRECONDITION') : 'NOT_FOUND',
        apply: () => volume?.targets.add(path),
      };
    case 'unpublish':
      return {
        call: (options) => client.node.nodeUnpublishVolume({ volumeId, targetPath: path }, options),
        expected: 'OK',
        apply: () => volume?.targets.delete(path),
      };
  }
}

/** The commands that take everything down again, in an order that every state allows. */
export function takeDown(model: Model, targets: readonly string[]): Command[] {
  const commands: Command[] = [];
  for (const [name, volume] of model.volumes) {
    for (const target of targets) commands.push({ do: 'unpublish', name, target });
    if (volume.attachedBy) commands.push({ do: 'unstage', name }, { do: 'unpublishController', name });
  }
  for (const snapshot of model.snapshots.keys()) commands.push({ do: 'deleteSnapshot', snapshot });
  for (const name of model.volumes.keys()) commands.push({ do: 'deleteVolume', name });
  return commands;
}
