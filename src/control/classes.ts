import type { RunResult } from '../lib/work-queue.ts';
import type { ClassSpec } from '../model/class.ts';
import { hasCode } from '../model/errors.ts';
import { changeStatus } from '../store/change.ts';
import type { ControlContext } from './context.ts';

/** The classes that a new instance begins with. */
export const defaultClasses: Readonly<Record<string, Partial<ClassSpec>>> = {
  'local-xfs': { isDefault: true, filesystem: 'xfs', description: 'XFS on this machine, allocated as it is written' },
  'local-ext4': { filesystem: 'ext4', description: 'ext4 on this machine, allocated as it is written' },
  'local-xfs-thick': {
    filesystem: 'xfs',
    provisioning: 'thick',
    description: 'XFS on this machine, allocated in full: safe from a full pool, for databases',
  },
};

/** Makes the default classes when there is no class at all: one that an administrator has deleted does not come back. */
export async function makeDefaultClasses(context: ControlContext): Promise<void> {
  const { store } = context.deps;
  if (context.view.classes.list().length > 0) return;
  for (const [name, spec] of Object.entries(defaultClasses)) {
    try {
      await store.create({ kind: 'Class', metadata: { name }, spec });
    } catch (error) {
      if (!hasCode(error, 'AlreadyExists')) throw error;
    }
  }
}

/** Says of each class how many volumes were made by it. */
export async function reportClasses(context: ControlContext): Promise<RunResult> {
  for (const { metadata, status } of context.view.classes.list()) {
    const volumes = context.view.countOfClass(metadata.name);
    if (status.volumes !== volumes) await changeStatus(context.deps.store, 'Class', metadata.name, () => ({ volumes }));
  }
  return undefined;
}
