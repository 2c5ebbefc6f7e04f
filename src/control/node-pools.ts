import { join } from 'node:path/posix';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { parseQuantity } from '../lib/quantity.ts';
import { type RunResult, WorkQueue } from '../lib/work-queue.ts';
import { AzekuraError, hasCode } from '../model/errors.ts';
import type { Node } from '../model/kinds.ts';
import { annotations, poolNameOf } from '../model/names.ts';
import type { PoolSource, PoolSpec } from '../model/pool.ts';
import type { PoolRule } from '../model/pool-rule.ts';
import { shareBytes } from '../model/pool-share.ts';
import { change } from '../store/change.ts';
import type { Store } from '../store/store.ts';
import type { Operations } from './operations.ts';
import type { View } from './view.ts';

const parallelism = 4;
/** Labels of a Kubernetes node, and the space of a disk, change without telling us. */
const lookAgainMs = 5 * 60_000;
/** Of a disk that is shared with the node itself: kubelets begin to remove images at 85 %. */
const spareFraction = 0.15;

export interface NodePoolsDeps {
  readonly store: Store;
  readonly view: View;
  readonly operations: Pick<Operations, 'createPool'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly rules: readonly PoolRule[];
  /** Labels of the Kubernetes node; undefined when there is none of that name. */
  readonly labelsOf: (nodeName: string) => Promise<Readonly<Record<string, string>> | undefined>;
}

/** Gives nodes their first pools. */
export interface NodePools {
  stop(deadlineMs?: number): Promise<void>;
}

/**
 * Makes a pool on each node for each rule that fits it, once in the life of the node: what an administrator removes does
 * not come back. A node with pools that the cluster does not know waits until they are adopted.
 */
export function startNodePools(deps: NodePoolsDeps): NodePools {
  const { view, clock, log } = deps;
  const queue: WorkQueue = new WorkQueue({
    clock,
    parallelism,
    run: (name) => reconcile(deps, name),
    onError: (node, err, failures, retryAfterMs) =>
      log.warn({ err, node, failures, retryAfterMs }, 'the pools of a node could not be made; it is tried again'),
  });
  const waiting = new Map<string, string>();
  const stop = view.nodes.onChange(({ object, type }) => {
    const { name } = object.metadata;
    // Nodes report every minute; only what may change our mind is a reason to look.
    const { phase, pools, dataDisk } = object.status;
    const reason = JSON.stringify([phase, pools, dataDisk === undefined, object.metadata.annotations]);
    if (type === 'deleted') waiting.delete(name);
    else if (waiting.get(name) !== reason) {
      waiting.set(name, reason);
      queue.add(name);
    }
  });
  return {
    stop: async (deadlineMs = 5_000) => {
      stop();
      await queue.stop(deadlineMs);
    },
  };
}

async function reconcile(deps: NodePoolsDeps, nodeName: string): Promise<RunResult> {
  const { view, rules } = deps;
  const node = view.nodes.get(nodeName);
  if (!node || node.metadata.deletionTimestamp || node.status.phase !== 'Ready') return undefined;
  const made = rulesOf(node);
  const open = rules.filter(({ name }) => !made.includes(name));
  if (open.length === 0) return undefined;
  const known = view.pools.list().filter(({ spec }) => spec.nodeName === nodeName);
  if (node.status.pools > known.length) return { againAfterMs: lookAgainMs };
  const labels = open.some(({ nodeSelector }) => Object.keys(nodeSelector).length > 0)
    ? ((await deps.labelsOf(nodeName)) ?? {})
    : {};
  const fitting = open.filter(({ nodeSelector }) =>
    Object.entries(nodeSelector).every(([key, value]) => labels[key] === value),
  );
  let waits = fitting.length < open.length;
  for (const rule of fitting) waits = !(await apply(deps, node, rule)) || waits;
  return waits ? { againAfterMs: lookAgainMs } : undefined;
}

/** @returns whether the rule is done with */
async function apply({ store, view, operations, log }: NodePoolsDeps, node: Node, rule: PoolRule): Promise<boolean> {
  const nodeName = node.metadata.name;
  const poolName = poolNameOf(nodeName, rule.name);
  if (!view.pools.get(poolName)) {
    const spec = specFor(node, rule);
    if (!spec) {
      log.warn({ node: nodeName, rule: rule.name, disk: node.status.dataDisk }, 'too little space for a pool');
      return false;
    }
    try {
      await operations.createPool({ name: poolName, spec });
      log.info({ node: nodeName, pool: poolName, source: spec.source }, 'made a pool by a rule');
    } catch (error) {
      // It was made a moment ago, by us or by somebody under this name.
      if (!hasCode(error, 'AlreadyExists')) throw error;
    }
  }
  await change(store, 'Node', nodeName, (object) => ({
    metadata: {
      annotations: {
        ...object.metadata.annotations,
        [annotations.poolsMade]: [...new Set([...rulesOf(object), rule.name])].join(','),
      },
    },
  }));
  return true;
}

function rulesOf({ metadata }: Node): readonly string[] {
  return (metadata.annotations[annotations.poolsMade] ?? '').split(',').filter((name) => name !== '');
}

/** The pool's spec; undefined when the node's disk has too little room for it. */
function specFor(node: Node, rule: PoolRule): (Partial<PoolSpec> & Pick<PoolSpec, 'source' | 'nodeName'>) | undefined {
  const { name, nodeSelector: _nodeSelector, source, ...tuning } = rule;
  const nodeName = node.metadata.name;
  const given = (chosen: PoolSource) => ({
    engine: chosen.kind === 'disks' || chosen.kind === 'volumeGroup' ? 'lvm' : 'file',
    ...withoutUndefined(tuning),
    nodeName,
    source: chosen,
  });
  if (source.kind !== 'share') return given(source);
  const { dataDisk } = node.status;
  const maximum = parseQuantity(source.maximum);
  if (!maximum.ok) throw new AzekuraError('InvalidArgument', `maximum "${source.maximum}" ${maximum.problem}`);
  const share = { fraction: source.percent / 100, maximumBytes: maximum.bytes, spareFraction };
  const sizeBytes = dataDisk && shareBytes(dataDisk, share);
  if (!dataDisk || sizeBytes === undefined) return undefined;
  return given({ kind: 'image', path: join(dataDisk.path, 'pools', `${name}.img`), sizeBytes });
}

function withoutUndefined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
