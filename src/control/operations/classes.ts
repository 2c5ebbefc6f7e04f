import { isDeepStrictEqual } from 'node:util';
import { ClassSpec } from '../../model/class.ts';
import { AzekuraError, hasCode } from '../../model/errors.ts';
import type { Class } from '../../model/kinds.ts';
import { change } from '../../store/change.ts';
import type { OperationsContext } from './context.ts';
import { checkMountOptions, checkName, invalid } from './validate.ts';

/** See Operations.createClass. */
export async function createClass(context: OperationsContext, name: string, part: Partial<ClassSpec>): Promise<Class> {
  checkName('class', name);
  const spec = checkSpec(context, name, part);
  const existing = await context.deps.store.find('Class', name);
  if (existing) return same(existing, spec);
  try {
    const made = await context.deps.store.create({ kind: 'Class', metadata: { name }, spec });
    if (spec.isDefault) await onlyDefault(context, name);
    return made;
  } catch (error) {
    if (!hasCode(error, 'AlreadyExists')) throw error;
    return same(await context.need('Class', name), spec);
  }
}

/** See Operations.updateClass. Volumes that exist keep what they were made with. */
export async function updateClass(context: OperationsContext, name: string, part: Partial<ClassSpec>): Promise<Class> {
  const stored = await context.need('Class', name);
  checkSpec(context, name, { ...stored.spec, ...part });
  const changed = await change(context.deps.store, 'Class', name, ({ spec }) => ({
    spec: checkSpec(context, name, { ...spec, ...part }),
  }));
  if (!changed) throw new AzekuraError('NotFound', `class ${name} has been deleted meanwhile`);
  if (part.isDefault) await onlyDefault(context, name);
  return changed;
}

/** See Operations.deleteClass. Volumes that were made by it keep their policy. */
export async function deleteClass(context: OperationsContext, name: string): Promise<void> {
  const { metadata } = await context.need('Class', name);
  await context.deps.store.delete('Class', name, { uid: metadata.uid });
}

function checkSpec(context: OperationsContext, name: string, part: Partial<ClassSpec>): ClassSpec {
  const parsed = ClassSpec.safeParse(part);
  if (!parsed.success) throw invalid(`class ${name}`, parsed.error);
  const spec = parsed.data;
  const definition = context.deps.engines(spec.engine);
  const { capabilities } = definition;
  context.require(spec.engine, capabilities.replicas.includes(spec.replicas), `keep ${spec.replicas} copies`);
  context.require(
    spec.engine,
    capabilities.provisioning.includes(spec.provisioning),
    `make ${spec.provisioning} volumes`,
  );
  context.require(
    spec.engine,
    capabilities.filesystems.includes(spec.filesystem),
    `make volumes with ${spec.filesystem}`,
  );
  context.require(spec.engine, capabilities.shared || !spec.shared, 'share a volume between nodes');
  checkMountOptions(spec.filesystem, spec.mountOptions);
  const parameters = definition.parameters.safeParse(spec.parameters);
  if (!parameters.success) throw invalid(`the parameters of engine ${spec.engine}`, parameters.error);
  return spec;
}

function same(existing: Class, spec: ClassSpec): Class {
  if (isDeepStrictEqual(existing.spec, spec)) return existing;
  throw new AzekuraError('AlreadyExists', `class ${existing.metadata.name} exists with other particulars`, {
    next: 'change it with `azekura class update`, or choose another name',
  });
}

/** There is one default class. */
async function onlyDefault(context: OperationsContext, name: string): Promise<void> {
  for (const other of context.view.classes.list())
    if (other.metadata.name !== name && other.spec.isDefault)
      await change(context.deps.store, 'Class', other.metadata.name, ({ spec }) => ({
        spec: { ...spec, isDefault: false },
      }));
}
