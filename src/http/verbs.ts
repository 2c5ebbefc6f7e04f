import type { z } from 'zod';
import type { Operations } from '../control/operations.ts';
import type { Kind } from '../model/kinds.ts';
import {
  ClassInput,
  ClassPatch,
  NodePatch,
  PoolInput,
  PoolPatch,
  SnapshotGroupInput,
  SnapshotInput,
  VolumeInput,
  VolumePatch,
} from './inputs.ts';

/** What a verb gets of a request: everything is checked already. */
export interface VerbRequest<Body> {
  readonly name: string;
  readonly body: Body;
  readonly dryRun: boolean;
  /** The verb's own switches that the query string sets. */
  readonly flags: ReadonlySet<string>;
}

/** What is answered: an object or nothing; `plan` tells where and why, and is shown on a dry run. */
export interface VerbAnswer {
  readonly object?: unknown;
  readonly plan?: Readonly<Record<string, unknown>>;
}

/** One change of one kind, as data: the routes and the OpenAPI document are both made from it. */
export interface Verb<Body = unknown> {
  readonly method: 'POST' | 'PATCH' | 'DELETE';
  readonly kind: Kind;
  /** The subresource of POST …/{name}/<action>. */
  readonly action?: string;
  readonly summary: string;
  readonly body?: z.ZodType<Body>;
  readonly flags?: readonly string[];
  /** What is answered when it is not an object of the kind. */
  readonly answer?: z.ZodType;
  /** Whether ?dryRun=true is understood; where it is not, it is refused rather than ignored. */
  readonly dryRun: boolean;
  readonly run: (operations: Operations, request: VerbRequest<Body>) => Promise<VerbAnswer>;
}

/** Ties the body's type to its schema; a table holds verbs of any body. */
export function verb<Body>(entry: Verb<Body>): Verb {
  return entry as unknown as Verb;
}

/** Making, changing and deleting whole objects. */
export const objectVerbs: readonly Verb[] = [
  verb({
    method: 'POST',
    kind: 'Volume',
    summary: 'Makes a volume',
    body: VolumeInput,
    dryRun: true,
    run: async (operations, { body, dryRun }) => {
      const { volume, placement } = await operations.createVolume({
        name: body.metadata.name,
        ...given({ ...body.spec, labels: body.metadata.labels }),
        dryRun,
      });
      return { object: volume, plan: { placement } };
    },
  }),
  verb({
    method: 'PATCH',
    kind: 'Volume',
    summary: 'Grows a volume, or changes its labels',
    body: VolumePatch,
    dryRun: true,
    run: async (operations, { name, body, dryRun }) => {
      let object: unknown;
      if (body.spec) object = await operations.expandVolume(name, body.spec.sizeBytes, { dryRun });
      if (body.metadata && !dryRun) object = await operations.labelVolume(name, body.metadata.labels);
      return { object };
    },
  }),
  verb({
    method: 'DELETE',
    kind: 'Volume',
    summary: 'Deletes a volume: into the recycle bin, unless told otherwise',
    flags: ['skipRecycleBin'],
    dryRun: true,
    run: async (operations, { name, dryRun, flags }) => {
      await operations.deleteVolume(name, { dryRun, skipRecycleBin: flags.has('skipRecycleBin') });
      return {};
    },
  }),
  verb({
    method: 'DELETE',
    kind: 'RecycledVolume',
    summary: 'Removes a recycled volume for good before its time',
    dryRun: false,
    run: async (operations, { name }) => ({ object: await operations.purgeVolume(name) }),
  }),
  verb({
    method: 'POST',
    kind: 'Snapshot',
    summary: 'Takes a snapshot of a volume',
    body: SnapshotInput,
    dryRun: true,
    run: async (operations, { body, dryRun }) => ({
      object: await operations.createSnapshot({
        name: body.metadata.name,
        volumeName: body.spec.volumeName,
        ...given({ freeze: body.spec.freeze, labels: body.metadata.labels }),
        dryRun,
      }),
    }),
  }),
  verb({
    method: 'DELETE',
    kind: 'Snapshot',
    summary: 'Deletes a snapshot',
    dryRun: true,
    run: async (operations, { name, dryRun }) => {
      await operations.deleteSnapshot(name, { dryRun });
      return {};
    },
  }),
  verb({
    method: 'POST',
    kind: 'SnapshotGroup',
    summary: 'Takes snapshots of several volumes at one instant',
    body: SnapshotGroupInput,
    dryRun: true,
    run: async (operations, { body, dryRun }) => ({
      object: await operations.createSnapshotGroup({
        name: body.metadata.name,
        volumeNames: body.spec.volumeNames,
        ...given({ freeze: body.spec.freeze }),
        dryRun,
      }),
    }),
  }),
  verb({
    method: 'DELETE',
    kind: 'SnapshotGroup',
    summary: 'Deletes a snapshot group with all its members',
    dryRun: false,
    run: async (operations, { name }) => {
      await operations.deleteSnapshotGroup(name);
      return {};
    },
  }),
  verb({
    method: 'POST',
    kind: 'Pool',
    summary: 'Adds a pool: a directory, an image file or a whole device',
    body: PoolInput,
    dryRun: true,
    run: async (operations, { body, dryRun }) => {
      const { source, ...options } = body.spec;
      const { pool, plan, warnings } = await operations.createPool({
        name: body.metadata.name,
        spec: { source, ...given(options) },
        ...given({ labels: body.metadata.labels }),
        dryRun,
      });
      return { object: pool, plan: { steps: plan, warnings } };
    },
  }),
  verb({
    method: 'PATCH',
    kind: 'Pool',
    summary: "Changes a pool's limits, or cordons it",
    body: PoolPatch,
    dryRun: false,
    run: async (operations, { name, body }) => ({ object: await operations.updatePool(name, body.spec) }),
  }),
  verb({
    method: 'DELETE',
    kind: 'Pool',
    summary: 'Forgets an empty pool; with destroy its own files go too',
    flags: ['destroy'],
    dryRun: true,
    run: async (operations, { name, dryRun, flags }) => {
      await operations.removePool(name, { dryRun, destroy: flags.has('destroy') });
      return {};
    },
  }),
  verb({
    method: 'POST',
    kind: 'Class',
    summary: 'Makes a class',
    body: ClassInput,
    dryRun: false,
    run: async (operations, { body }) => ({ object: await operations.createClass(body.metadata.name, body.spec) }),
  }),
  verb({
    method: 'PATCH',
    kind: 'Class',
    summary: 'Changes a class; volumes that exist keep what they were made with',
    body: ClassPatch,
    dryRun: false,
    run: async (operations, { name, body }) => ({ object: await operations.updateClass(name, body.spec) }),
  }),
  verb({
    method: 'DELETE',
    kind: 'Class',
    summary: 'Deletes a class; its volumes stay',
    dryRun: false,
    run: async (operations, { name }) => {
      await operations.deleteClass(name);
      return {};
    },
  }),
  verb({
    method: 'PATCH',
    kind: 'Node',
    summary: 'Cordons a node or lifts the cordon',
    body: NodePatch,
    dryRun: false,
    run: async (operations, { name, body }) => ({ object: await operations.cordonNode(name, body.spec.cordoned) }),
  }),
];

type Given<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** Without the fields that are undefined, which exactOptionalPropertyTypes tells apart from absent ones. */
export function given<T extends object>(fields: T): Partial<Given<T>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<Given<T>>;
}
