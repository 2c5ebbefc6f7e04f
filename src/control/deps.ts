import type { EngineDefinition, PoolInspection } from '../engines/contract.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { PoolSpec } from '../model/pool.ts';
import type { Store } from '../store/store.ts';
import type { KubernetesLooks } from './kubernetes/looks.ts';
import type { View } from './view.ts';

/** What the controllers need of the world. */
export interface ControllerDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  /** engines/registry.ts' engineDefinition(), or a test's own. */
  readonly engines: (kind: string) => EngineDefinition;
  /** Finished tasks that are kept; 1,000 unless told. */
  readonly keptTasks?: number;
  /** Shared with others, who close it; one of their own when absent. */
  readonly view?: View;
}

/** The leader's controllers, and the view of the state that they share with the operations. */
export interface Controllers {
  /** Begins: makes the default classes when there is no class yet. Resolves when the view is complete. */
  start(): Promise<void>;
  stop(deadlineMs?: number): Promise<void>;
  /** All objects in memory with their relations; also for the operations of the same process. */
  readonly view: View;
}

/** What operations ask the agent of a node directly, because it concerns that machine and no object yet. Agent satisfies it. */
export interface NodeSide {
  inspectPool(name: string, spec: PoolSpec): Promise<PoolInspection>;
  checkMountPoint(path: string, mode: 'filesystem' | 'block', volumeId: string): Promise<void>;
}

/** What the operations need of the world. */
export interface OperationsDeps {
  readonly store: Store;
  readonly view: View;
  readonly clock: Clock;
  readonly log: Logger;
  readonly engines: (kind: string) => EngineDefinition;
  /** The node that is meant when a request names none: the machine itself. */
  readonly nodeName: string;
  readonly version: string;
  /** The agent of a node; undefined when it cannot be reached from here. */
  readonly node: (name: string) => NodeSide | undefined;
  /** In a Kubernetes cluster: its own objects. */
  readonly looks?: KubernetesLooks;
}
