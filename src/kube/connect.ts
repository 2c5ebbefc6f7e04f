import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { AzekuraError } from '../model/errors.ts';
import type { Access } from './access.ts';
import { type Credentials, readKubeconfig } from './kubeconfig.ts';
import { tokenFile } from './token.ts';

export interface AccessOptions {
  /** Path of a kubeconfig; else $KUBECONFIG, else in-cluster, else ~/.kube/config. */
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where the kubelet puts the service account's files. */
  readonly serviceAccountFolder?: string;
  /** Runs a credential plugin of a kubeconfig (`exec`); without it such users are refused. */
  readonly runPlugin?: Credentials['runPlugin'];
}

const mountedAt = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Finds the API server in the order that kubectl and pods are used to.
 *
 * @throws AzekuraError FailedPrecondition when there is no configuration, InvalidArgument when it cannot be read
 */
export async function findAccess(options: AccessOptions = {}): Promise<Access> {
  const { env = process.env, context, runPlugin } = options;
  const plugin = runPlugin ? { runPlugin } : {};
  const path = options.kubeconfig ?? env.KUBECONFIG;
  if (path)
    return readKubeconfig({ paths: path.split(':').filter(Boolean), ...(context ? { context } : {}), ...plugin });
  if (env.KUBERNETES_SERVICE_HOST) return inCluster(env, options.serviceAccountFolder ?? mountedAt);
  return readKubeconfig({ paths: [join(homedir(), '.kube', 'config')], ...(context ? { context } : {}), ...plugin });
}

function inCluster(env: Readonly<Record<string, string | undefined>>, folder: string): Access {
  const host = env.KUBERNETES_SERVICE_HOST ?? '';
  const port = env.KUBERNETES_SERVICE_PORT ?? '443';
  try {
    return {
      server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
      ca: readFileSync(join(folder, 'ca.crt'), 'utf8'),
      token: tokenFile(join(folder, 'token')),
      namespace: readFileSync(join(folder, 'namespace'), 'utf8').trim(),
    };
  } catch (error) {
    throw new AzekuraError('FailedPrecondition', `the pod has no service account in ${folder}`, {
      next: 'set automountServiceAccountToken: true in the pod',
      cause: error,
    });
  }
}
