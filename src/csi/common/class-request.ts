import { policyOf } from '../../control/class-policy.ts';
import type { Class } from '../../model/kinds.ts';
import type { Policy } from '../../model/policy.ts';
import type { CsiDeps } from '../deps.ts';
import { type ClassParameters, parseParameters } from './parameters.ts';

/** What a StorageClass asks of the place of its volumes. */
export interface ClassRequest {
  readonly policy: Policy;
  readonly poolName: string | undefined;
}

/** The class that parameters name, or the default one. */
export function classOf(view: Pick<CsiDeps['view'], 'classes'>, { className }: ClassParameters): Class | undefined {
  return view.classes
    .list()
    .find(({ metadata, spec }) => (className === undefined ? spec.isDefault : metadata.name === className));
}

/**
 * The policy that volumes of a StorageClass get; undefined when none can be made with these parameters.
 *
 * @throws AzekuraError InvalidArgument for a parameter that is not possible
 */
export function requestOfClass(
  view: Pick<CsiDeps['view'], 'classes'>,
  parameters: Readonly<Record<string, string>>,
): ClassRequest | undefined {
  const parsed = parseParameters(parameters, {});
  const used = classOf(view, parsed);
  if (!used) return undefined;
  const { engineKind, deviceClass, provisioning, filesystem, poolName } = parsed;
  const policy = policyOf(used.spec, { engine: engineKind, deviceClass, provisioning, filesystem });
  return policy.success ? { policy: policy.data, poolName } : undefined;
}
