import { formatBytes } from '../lib/quantity.ts';
import { bytesFromDisks, bytesOnDisks, disksNeeded, wantedLayout } from '../model/disk-layout.ts';
import type { Node, Pool } from '../model/kinds.ts';
import { headerBytesOf, type Policy } from '../model/policy.ts';
import { presentDisks } from '../model/pool.ts';
import type { Room } from './capacity.ts';
import type { Lot } from './lot.ts';

/** What of a volume's policy decides where it may lie. */
export type PlacementPolicy = Pick<Policy, 'engine' | 'provisioning' | 'poolSelector' | 'deviceClass'> & {
  readonly replicas?: number;
  readonly shared?: boolean;
  readonly encryption?: Policy['encryption'];
  readonly parameters?: Policy['parameters'];
};

/** One volume that is looked for. */
export interface ClaimRequest {
  /** What a sentence calls it, when several are placed together. */
  readonly name?: string;
  readonly sizeBytes: number;
  readonly policy: PlacementPolicy;
  /** Only this pool, by the user's wish or because the source lies there. */
  readonly poolName?: string | undefined;
  /** Never these: the pool that is drained, pools that hold a copy already. */
  readonly excludedPools?: readonly string[];
  /** Whether several nodes will use it at once. */
  readonly access?: 'oneNode' | 'manyNodes';
}

/** What a pool needs for a claim: an encrypted volume has a header before its data. */
export function storedBytes({ sizeBytes, policy }: Pick<ClaimRequest, 'sizeBytes' | 'policy'>): number {
  return sizeBytes + headerBytesOf(policy);
}

/** What a claim takes of a pool with so many disks. */
export function takenBytes(claim: Pick<ClaimRequest, 'sizeBytes' | 'policy'>, disks: number): number {
  return bytesOnDisks(storedBytes(claim), wantedLayout(claim.policy), disks);
}

/** What a pool with so many disks has room for, of volumes of this policy. */
export function roomFor(policy: PlacementPolicy, room: Room, disks: number): number {
  return policy.provisioning === 'thick'
    ? bytesFromDisks(room.thickBytes, wantedLayout(policy), disks)
    : room.thinBytes;
}

/** What can be against a pool or node. */
export type ObstacleCode =
  | 'NotShared'
  | 'OtherPool'
  | 'Excluded'
  | 'OtherNode'
  | 'OtherEngine'
  | 'OtherDeviceClass'
  | 'NotSelected'
  | 'TooFewDisks'
  | 'Removing'
  | 'Draining'
  | 'PoolCordoned'
  | 'NodeUnknown'
  | 'NodeCordoned'
  | 'NodeNotReady'
  | 'PoolNotReady'
  | 'DiskFailing'
  | 'PoolFull'
  | 'NoRoom'
  | 'NoRoomTogether'
  | 'NoPool';

/** Why not: a code for programs, one clause for a person. */
export interface Obstacle {
  readonly code: ObstacleCode;
  readonly reason: string;
}

/** What is against a pool whatever its room; undefined when only its room decides. */
export function obstacleOf(
  request: Omit<ClaimRequest, 'sizeBytes'> & { readonly nodeNames?: readonly string[] | undefined },
  pool: Pool,
  node: Node | undefined,
): Obstacle | undefined {
  const { metadata, spec } = pool;
  if (request.access === 'manyNodes' && request.policy.shared !== true)
    return obstacle('NotShared', 'volumes of this class can be used by one node at a time only');
  if (request.poolName !== undefined && request.poolName !== metadata.name)
    return obstacle('OtherPool', 'the volume is bound to another pool');
  if (request.excludedPools?.includes(metadata.name))
    return obstacle('Excluded', 'excluded: it is the pool that is left, or holds a copy already');
  if (request.nodeNames && !request.nodeNames.includes(spec.nodeName))
    return obstacle('OtherNode', `its node ${spec.nodeName} is not one of those asked for`);
  return policyObstacle(request.policy, pool) ?? stateObstacle(pool, node);
}

/** Whether obstacleOf has nothing to say of the pool, without making a sentence. */
export function isOpenTo(claim: Omit<ClaimRequest, 'sizeBytes'>, lot: Lot): boolean {
  if (claim.access === 'manyNodes' && claim.policy.shared !== true) return false;
  if (claim.poolName !== undefined && claim.poolName !== lot.name) return false;
  return !claim.excludedPools?.includes(lot.name) && isAdmitted(claim.policy, lot);
}

/** The part of isOpenTo that says the same for all requests with one policy. */
export function isAdmitted(policy: PlacementPolicy, lot: Lot): boolean {
  const { engine, deviceClass, poolSelector } = policy;
  if (!lot.open || lot.engine !== engine) return false;
  if (deviceClass !== undefined && lot.deviceClass !== deviceClass) return false;
  if (poolSelector.names && !poolSelector.names.includes(lot.name)) return false;
  if (poolSelector.labels && lackedLabel(poolSelector.labels, lot.pool)) return false;
  return lackedDisks(policy, lot.disks) === undefined;
}

/** How many disks a policy's layout needs, when these are too few. Of a pool that was not seen yet nobody knows. */
function lackedDisks(policy: PlacementPolicy, disks: number): number | undefined {
  const wanted = disks === 0 ? undefined : wantedLayout(policy);
  const needed = wanted ? disksNeeded(wanted) : 0;
  return needed > disks ? needed : undefined;
}

function lackedLabel(labels: Readonly<Record<string, string>>, { metadata }: Pool): string | undefined {
  const lacked = Object.entries(labels).find(([key, value]) => metadata.labels[key] !== value);
  return lacked && `${lacked[0]}=${lacked[1]}`;
}

function policyObstacle(policy: PlacementPolicy, pool: Pool): Obstacle | undefined {
  const { metadata, spec, status } = pool;
  if (spec.engine !== policy.engine)
    return obstacle('OtherEngine', `its engine is ${spec.engine}, not ${policy.engine}`);
  const known = spec.deviceClass ?? status.deviceClass;
  if (policy.deviceClass !== undefined && known !== policy.deviceClass)
    return obstacle(
      'OtherDeviceClass',
      known === undefined
        ? `its device class is not known, and ${policy.deviceClass} is asked for`
        : `its device class is ${known}, not ${policy.deviceClass}`,
    );
  const { names, labels } = policy.poolSelector;
  if (names && !names.includes(metadata.name)) return obstacle('NotSelected', 'the class does not name it');
  const lacked = labels && lackedLabel(labels, pool);
  if (lacked !== undefined) return obstacle('NotSelected', `it has not the label ${lacked} that the class asks for`);
  const disks = presentDisks(status);
  const needed = lackedDisks(policy, disks);
  return needed === undefined
    ? undefined
    : obstacle('TooFewDisks', `the layout ${policy.parameters?.layout} needs ${needed} disks, and it has ${disks}`);
}

/** What is against all new volumes on a pool; undefined when it takes some. */
export function stateObstacle({ metadata, spec, status }: Pool, node: Node | undefined): Obstacle | undefined {
  if (metadata.deletionTimestamp) return obstacle('Removing', 'it is being removed');
  if (spec.draining) return obstacle('Draining', 'it is being drained');
  if (spec.cordoned) return obstacle('PoolCordoned', 'it is cordoned');
  if (!node) return obstacle('NodeUnknown', `its node ${spec.nodeName} is not known`);
  if (node.spec.cordoned) return obstacle('NodeCordoned', `its node ${spec.nodeName} is cordoned`);
  if (node.status.phase !== 'Ready') return obstacle('NodeNotReady', `its node ${spec.nodeName} is not ready`);
  if (status.phase !== 'Ready') return obstacle('PoolNotReady', `it is not ready (${status.phase})`);
  const failing = status.causes.find(({ code }) => code === 'DiskFailing');
  if (failing) return obstacle('DiskFailing', `its disk ${failing.evidence.disk ?? ''} is failing`);
  return undefined;
}

/** What a pool lacks for a volume that it would else take; undefined when there is room. */
export function shortageOf(
  claim: Pick<ClaimRequest, 'sizeBytes' | 'policy'>,
  room: Room,
  disks: number,
): Obstacle | undefined {
  const roomBytes = roomFor(claim.policy, room, disks);
  if (storedBytes(claim) <= roomBytes) return undefined;
  if (room.short) return obstacle('PoolFull', 'it is full up to its reserve');
  const left = formatBytes(roomBytes);
  return obstacle(
    'NoRoom',
    claim.policy.provisioning === 'thick'
      ? `it has ${left} left that may be allocated at once`
      : `it has ${left} left up to its overcommit limit`,
  );
}

function obstacle(code: ObstacleCode, reason: string): Obstacle {
  return { code, reason };
}
