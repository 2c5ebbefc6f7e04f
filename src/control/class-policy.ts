import type { z } from 'zod';
import type { ClassSpec } from '../model/class.ts';
import { Policy } from '../model/policy.ts';

/** What a request may say otherwise than its class. */
export interface PolicyWishes {
  readonly engine?: string | undefined;
  readonly deviceClass?: string | undefined;
  readonly provisioning?: 'thin' | 'thick' | undefined;
  readonly filesystem?: 'xfs' | 'ext4' | undefined;
  readonly encryption?: 'none' | 'luks2' | undefined;
  readonly encryptionKeyFile?: string | undefined;
  readonly encryptionDiscard?: boolean | undefined;
  /** The engine's own parameters. */
  readonly parameters?: Readonly<Record<string, string>> | undefined;
}

/** The policy of a volume: its class's, with the wishes of the request put over it. */
export function policyOf(klass: ClassSpec, wishes: PolicyWishes): z.ZodSafeParseResult<Policy> {
  const { isDefault: _isDefault, recycleMs: _recycleMs, description: _description, ...classPolicy } = klass;
  const { engine = klass.engine, deviceClass, provisioning, filesystem, parameters } = wishes;
  const { encryption, encryptionKeyFile, encryptionDiscard } = wishes;
  return Policy.safeParse({
    ...classPolicy,
    engine,
    ...(deviceClass === undefined ? {} : { deviceClass }),
    ...(provisioning ? { provisioning } : {}),
    ...(filesystem ? { filesystem } : {}),
    ...(encryption ? { encryption } : {}),
    ...(encryptionKeyFile === undefined ? {} : { encryptionKeyFile }),
    ...(encryptionDiscard === undefined ? {} : { encryptionDiscard }),
    // Parameters of the class's engine mean nothing to another one.
    parameters: { ...(engine === klass.engine ? classPolicy.parameters : {}), ...parameters },
  });
}
