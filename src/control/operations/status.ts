import { causeCatalogue } from '../../model/causes.ts';
import { AzekuraError } from '../../model/errors.ts';
import { foreignKindFromWord } from '../../model/foreign.ts';
import { kindFromWord } from '../../model/kinds.ts';
import { findRoot, problems, type Relations } from '../../why/index.ts';
import { whyInKubernetes } from '../kubernetes/why.ts';
import type { InstanceStatus, WhyAnswer } from '../operations.ts';
import type { View } from '../view.ts';
import type { OperationsContext } from './context.ts';

/** See Operations.why. */
export async function why(context: OperationsContext, kindWord: string, name: string): Promise<WhyAnswer> {
  const kind = kindFromWord(kindWord);
  const foreign = kind ? undefined : foreignKindFromWord(kindWord);
  if (foreign) {
    const { looks, view } = context.deps;
    if (looks) return whyInKubernetes({ looks, view, why: (word, its) => why(context, word, its) }, foreign, name);
    throw new AzekuraError('FailedPrecondition', 'this instance belongs to no Kubernetes cluster', {
      next: 'ask a controller of the cluster: `kubectl azekura why …`',
    });
  }
  if (!kind)
    throw new AzekuraError('InvalidArgument', `"${kindWord.slice(0, 64)}" is not a kind of object`, {
      next: 'try volume, pool, snapshot, node or task',
    });
  const object = await context.need(kind, name);
  const root = findRoot(relationsOf(context.view), { kind, name });
  const { phase } = object.status as { readonly phase?: string };
  const worried = root !== undefined && causeCatalogue[root.cause.code].severity !== 'notice';
  return {
    kind,
    name,
    healthy: !worried,
    phase: phase ?? 'Ready',
    path: root?.path ?? [{ kind, name }],
    ...(root ? { cause: root.cause } : {}),
  };
}

/** See Operations.status. */
export async function status(context: OperationsContext): Promise<InstanceStatus> {
  const { view, deps } = context;
  const volumes = view.volumes.list();
  const byPhase: Record<string, number> = {};
  for (const volume of volumes) byPhase[volume.status.phase] = (byPhase[volume.status.phase] ?? 0) + 1;
  const recycled = view.recycled.list();
  return {
    node: deps.nodeName,
    version: deps.version,
    pools: view.pools.list(),
    volumes: {
      total: volumes.length,
      attached: volumes.filter((volume) => volume.status.attachedTo.length > 0).length,
      byPhase,
    },
    snapshots: view.snapshots.list().length,
    recycled: { count: recycled.length, bytes: recycled.reduce((sum, entry) => sum + entry.status.usedBytes, 0) },
    runningTasks: view.tasks
      .list()
      .filter((task) => task.status.phase === 'Running')
      .map((task) => {
        const step = task.status.steps.findLast((one) => one.outcome === 'Running')?.name;
        const { verb, subject } = task.spec;
        return {
          name: task.metadata.name,
          verb,
          subject: `${subject.kind.toLowerCase()}/${subject.name}`,
          ...(step ? { step } : {}),
        };
      }),
    problems: problems(relationsOf(view)).map(({ cause, affects }) => ({ cause, affects })),
  };
}

/** The view as why/ wants it. */
export function relationsOf(view: View): Relations {
  return {
    get: (kind, name) => view.of(kind)?.get(name),
    list: (kind) => view.of(kind)?.list() ?? [],
    replicasOf: (volumeId) => view.replicasOf(volumeId),
    attachmentsOf: (volumeId) => view.attachmentsOf(volumeId),
  };
}
