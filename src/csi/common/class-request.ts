import { policyOf } from '../../control/class-policy.ts';
import { hasCode } from '../../model/errors.ts';
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

/** The policy that volumes of a StorageClass get; undefined when none can be made with these parameters. */
export function requestOfClass(
  view: Pick<CsiDeps['view'], 'classes'>,
  parameters: ClassParameters,
): ClassRequest | undefined {
  const used = classOf(view, parameters);
  if (!used) return undefined;
  const { engineKind, deviceClass, provisioning, filesystem, poolName } = parameters;
  const policy = policyOf(used.spec, { engine: engineKind, deviceClass, provisioning, filesystem });
  return policy.success ? { policy: policy.data, poolName } : undefined;
}

/** The same for parameters that nobody has checked: undefined also when one of them is not possible. */
export function requestOfUnchecked(
  view: Pick<CsiDeps['view'], 'classes'>,
  parameters: Readonly<Record<string, string>> = {},
): ClassRequest | undefined {
  try {
    return requestOfClass(view, parseParameters(parameters, {}));
  } catch (error) {
    if (hasCode(error, 'InvalidArgument')) return undefined;
    throw error;
  }
}
