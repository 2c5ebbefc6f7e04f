import { makeCause } from '../../model/cause.ts';
import { AzekuraError } from '../../model/errors.ts';
import type { ForeignKind } from '../../model/foreign.ts';
import { lostVolumeCause } from '../lost-volume.ts';
import type { WhyAnswer } from '../operations.ts';
import type { View } from '../view.ts';
import type { KubernetesLooks } from './looks.ts';

/** What is needed to tell why an object of Kubernetes is not as it should be. */
export interface KubernetesWhyDeps {
  readonly looks: KubernetesLooks;
  readonly view: View;
  /** The same for our own objects. */
  readonly why: (kind: string, name: string) => Promise<WhyAnswer>;
}

/**
 * The one cause that keeps a claim, a volume or a pod of Kubernetes from being as it should be.
 *
 * @param name NAMESPACE/NAME of a claim or pod (NAME alone: of namespace default), NAME of a PersistentVolume
 * @throws AzekuraError NotFound; FailedPrecondition when no volume of ours is concerned
 */
export async function whyInKubernetes(deps: KubernetesWhyDeps, kind: ForeignKind, name: string): Promise<WhyAnswer> {
  if (kind === 'PersistentVolume') return ofVolume(deps, name);
  const [namespace = '', own] = name.includes('/') ? name.split('/', 2) : ['default', name];
  return kind === 'Pod' ? ofPod(deps, namespace, own ?? '') : ofClaim(deps, namespace, own ?? '');
}

async function ofVolume(deps: KubernetesWhyDeps, name: string): Promise<WhyAnswer> {
  const volume = (await deps.looks.volume(name)) ?? missing('PersistentVolume', name);
  const handle = volume.spec.csi?.volumeHandle ?? '';
  const ours = deps.view.volumeOf(handle);
  const lost = ours ? undefined : lostVolumeCause(deps.view, handle);
  if (lost) {
    const subject = { kind: 'PersistentVolume', name };
    return { ...subject, healthy: false, phase: volume.status?.phase ?? 'Bound', cause: lost, path: [subject] };
  }
  if (!ours)
    throw new AzekuraError('FailedPrecondition', `no volume of Azekura belongs to persistent volume ${name}`, {
      next: 'it is of another driver, or its data waits to be adopted: `azekura pool list`',
    });
  return below({ kind: 'PersistentVolume', name }, await deps.why('Volume', ours.metadata.name));
}

async function ofClaim(deps: KubernetesWhyDeps, namespace: string, name: string): Promise<WhyAnswer> {
  const claim = (await deps.looks.claim(namespace, name)) ?? missing('PersistentVolumeClaim', `${namespace}/${name}`);
  const subject = { kind: 'PersistentVolumeClaim', name: `${namespace}/${name}` };
  if (claim.spec.volumeName !== undefined) return below(subject, await ofVolume(deps, claim.spec.volumeName));
  const made = deps.view.volumes
    .list()
    .find(({ spec }) => spec.claim?.namespace === namespace && spec.claim.name === name);
  const answer = made && (await deps.why('Volume', made.metadata.name));
  if (answer && !answer.healthy) return below(subject, answer);
  const warning = await deps.looks.lastWarning(namespace, name);
  const cause =
    warning === undefined
      ? makeCause('ClaimWaits', { claim: subject.name })
      : makeCause('ClaimNotProvisioned', { claim: subject.name, problem: plain(warning) });
  const phase = claim.status?.phase ?? 'Pending';
  return { ...subject, healthy: warning === undefined, phase, cause, path: [subject] };
}

async function ofPod(deps: KubernetesWhyDeps, namespace: string, name: string): Promise<WhyAnswer> {
  const pod = (await deps.looks.pod(namespace, name)) ?? missing('Pod', `${namespace}/${name}`);
  const subject = { kind: 'Pod', name: `${namespace}/${name}` };
  const claims = (pod.spec.volumes ?? []).flatMap((volume) => {
    if (volume.persistentVolumeClaim) return [volume.persistentVolumeClaim.claimName];
    return volume.ephemeral ? [`${name}-${volume.name}`] : [];
  });
  let quiet: WhyAnswer | undefined;
  for (const claim of claims) {
    const answer = await ofClaim(deps, namespace, claim).catch((error: unknown) => {
      // A claim of another driver is not ours to explain.
      if (error instanceof AzekuraError && ['NotFound', 'FailedPrecondition'].includes(error.code)) return undefined;
      throw error;
    });
    if (answer && !answer.healthy) return { ...below(subject, answer), phase: pod.status?.phase ?? 'Pending' };
    quiet ??= answer;
  }
  const phase = pod.status?.phase ?? 'Pending';
  const unscheduled = pod.status?.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
  if (!unscheduled)
    return { ...(quiet ? below(subject, quiet) : { ...subject, healthy: true, path: [subject] }), phase };
  const cause = makeCause('PodNotScheduled', { pod: subject.name, problem: plain(unscheduled.message ?? '') });
  return { ...subject, healthy: false, phase, cause, path: [subject] };
}

/** The answer about what an object depends on, as one about the object. */
function below(subject: { readonly kind: string; readonly name: string }, answer: WhyAnswer): WhyAnswer {
  return { ...answer, ...subject, path: [subject, ...answer.path] };
}

/** Without what sidecars and gRPC put before our sentence, and without a full stop. */
function plain(message: string): string {
  return message
    .replace(/^.*?rpc error: code = \w+ desc = /s, '')
    .replaceAll(/\s+/g, ' ')
    .replace(/\.$/, '')
    .slice(0, 600);
}

function missing(kind: string, name: string): never {
  throw new AzekuraError('NotFound', `there is no ${kind} "${name.slice(0, 320)}"`, {
    next: 'name a claim or pod as NAMESPACE/NAME',
  });
}
