import { apiVersion } from '../model/meta.ts';
import {
  AdoptInput,
  AdoptOutput,
  ChangeKeyInput,
  DisksInput,
  DrainInput,
  MountInput,
  NoInput,
  RestoreInput,
  UndeleteInput,
  UnmountInput,
} from './inputs.ts';
import { given, type Verb, verb } from './verbs.ts';

/** What can be done to an object beside changing it: POST …/{name}/<action>. */
export const actions: readonly Verb[] = [
  verb({
    method: 'POST',
    kind: 'Volume',
    action: 'mount',
    summary: 'Attaches the volume to this node and shows it at a path',
    body: MountInput,
    dryRun: false,
    run: async (operations, { name, body }) => ({
      object: await operations.mountVolume(name, {
        path: body.path,
        ...given({ readOnly: body.readOnly, mountOptions: body.mountOptions }),
      }),
    }),
  }),
  verb({
    method: 'POST',
    kind: 'Volume',
    action: 'unmount',
    summary: 'Takes the volume away from one path, or from all',
    body: UnmountInput,
    dryRun: false,
    run: async (operations, { name, body }) => ({
      object: await operations.unmountVolume(name, given({ path: body.path })),
    }),
  }),
  verb({
    method: 'POST',
    kind: 'Volume',
    action: 'restore',
    summary: 'Puts the bytes of a snapshot in place of the volume',
    body: RestoreInput,
    dryRun: true,
    run: async (operations, { name, body, dryRun }) => ({
      object: await operations.restoreVolume(name, body.snapshotName, { dryRun }),
    }),
  }),
  verb({
    method: 'POST',
    kind: 'Volume',
    action: 'repair',
    summary: 'Checks and repairs the file system of a detached volume',
    body: NoInput,
    dryRun: false,
    run: async (operations, { name }) => ({ object: await operations.repairVolume(name) }),
  }),
  verb({
    method: 'POST',
    kind: 'Volume',
    action: 'trim',
    summary: 'Has the mounted file system give back to the pool what it does not use',
    body: NoInput,
    dryRun: false,
    run: async (operations, { name }) => ({ object: await operations.trimVolume(name) }),
  }),
  verb({
    method: 'POST',
    kind: 'Volume',
    action: 'rotate-key',
    summary: 'Brings an encrypted volume to another key, also while it is mounted',
    body: ChangeKeyInput,
    dryRun: false,
    run: async (operations, { name, body }) => ({
      object: await operations.changeVolumeKey(
        name,
        given({ keyFile: body.keyFile, previousKeyFile: body.previousKeyFile }),
      ),
    }),
  }),
  verb({
    method: 'POST',
    kind: 'RecycledVolume',
    action: 'undelete',
    summary: 'Takes a volume out of the recycle bin: the newest of a volume name, or the one of a recycled name',
    body: UndeleteInput,
    dryRun: true,
    run: async (operations, { name, body, dryRun }) => ({
      object: await operations.undeleteVolume(name, { ...given({ as: body.as }), dryRun }),
    }),
  }),
  verb({
    method: 'POST',
    kind: 'Pool',
    action: 'drain',
    summary: 'Moves every volume of the pool to other pools of the machine',
    body: DrainInput,
    dryRun: true,
    run: async (operations, { name, body, dryRun }) => {
      const { pool, moves, cannot } = await operations.drainPool(name, { ...given({ cancel: body.cancel }), dryRun });
      return { object: pool, plan: { moves, cannot } };
    },
  }),
  verb({
    method: 'POST',
    kind: 'Pool',
    action: 'disks',
    summary: 'Adds disks to the pool, or takes some out once they are empty',
    body: DisksInput,
    dryRun: true,
    run: async (operations, { name, body, dryRun }) => {
      const { pool, plan, warnings } = await operations.changeDisks(name, { ...given(body), dryRun });
      return { object: pool, plan: { steps: plan, warnings } };
    },
  }),
  verb({
    method: 'POST',
    kind: 'Pool',
    action: 'adopt',
    summary: 'Makes objects again of volumes and snapshots that lie on the pool without any',
    body: AdoptInput,
    answer: AdoptOutput,
    dryRun: true,
    run: async (operations, { name, body, dryRun }) => {
      const answer = await operations.adoptPool(name, { ...given(body), dryRun });
      return { object: { apiVersion, kind: 'Adoption', ...answer }, plan: { ...answer } };
    },
  }),
  ...(['cordon', 'uncordon'] as const).flatMap((action) => [
    verb({
      method: 'POST',
      kind: 'Pool',
      action,
      summary: action === 'cordon' ? 'Nothing new is placed on the pool' : 'The pool takes new volumes again',
      body: NoInput,
      dryRun: false,
      run: async (operations, { name }) => ({
        object: await operations.updatePool(name, { cordoned: action === 'cordon' }),
      }),
    }),
    verb({
      method: 'POST',
      kind: 'Node',
      action,
      summary: action === 'cordon' ? 'Nothing new is placed on the node' : 'The node takes new volumes again',
      body: NoInput,
      dryRun: false,
      run: async (operations, { name }) => ({ object: await operations.cordonNode(name, action === 'cordon') }),
    }),
  ]),
];
