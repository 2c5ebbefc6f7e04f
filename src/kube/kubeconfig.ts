import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { AzekuraError } from '../model/errors.ts';
import type { Access } from './access.ts';
import { expiringToken, fixedToken, type Token, tokenFile } from './token.ts';

/**
 * The format is that of k8s.io/client-go/tools/clientcmd/api/v1. Read are the parts that reach an API server directly:
 * proxies, impersonation and the auth providers that Kubernetes has removed are refused by name rather than left out.
 */
const Cluster = z.object({
  server: z.url(),
  'certificate-authority': z.string().optional(),
  'certificate-authority-data': z.string().optional(),
  'insecure-skip-tls-verify': z.boolean().optional(),
  'tls-server-name': z.string().optional(),
  'proxy-url': z.string().optional(),
});
const Exec = z.object({
  apiVersion: z.string(),
  command: z.string(),
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string(), value: z.string() })).nullish(),
});
const User = z.object({
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  'client-certificate': z.string().optional(),
  'client-certificate-data': z.string().optional(),
  'client-key': z.string().optional(),
  'client-key-data': z.string().optional(),
  username: z.string().optional(),
  as: z.string().optional(),
  'auth-provider': z.unknown().optional(),
  exec: Exec.optional(),
});
const Config = z.object({
  'current-context': z.string().nullish(),
  contexts: z
    .array(
      z.object({
        name: z.string(),
        context: z.object({ cluster: z.string(), user: z.string().optional(), namespace: z.string().optional() }),
      }),
    )
    .nullish(),
  clusters: z.array(z.object({ name: z.string(), cluster: Cluster })).nullish(),
  users: z.array(z.object({ name: z.string(), user: User.nullish() })).nullish(),
});
type Config = z.infer<typeof Config>;
type User = z.infer<typeof User>;

export interface Credentials {
  /** Several files are one: the first that names a thing wins, as with $KUBECONFIG. */
  readonly paths: readonly string[];
  readonly context?: string;
  /** Runs a credential plugin and gives back what it wrote to its standard output. */
  readonly runPlugin?: (argv: readonly string[], env: Readonly<Record<string, string>>) => Promise<string>;
}

/** @throws AzekuraError FailedPrecondition, InvalidArgument, Unimplemented */
export function readKubeconfig({ paths, context: wanted, runPlugin }: Credentials): Access {
  const files = paths.map((path) => ({ folder: dirname(resolve(path)), config: readConfig(path) }));
  const first = <T>(pick: (config: Config) => T | null | undefined) => {
    for (const { folder, config } of files) {
      const found = pick(config);
      if (found !== undefined && found !== null && found !== '') return { folder, found };
    }
    return undefined;
  };
  const missing = (what: string) =>
    new AzekuraError('FailedPrecondition', `the kubeconfig ${paths.join(':')} has no ${what}`, {
      next: 'name another kubeconfig or context',
    });
  const contextName = wanted ?? first((config) => config['current-context'])?.found;
  if (contextName === undefined) throw missing('current context');
  const context = first((config) => config.contexts?.find(({ name }) => name === contextName)?.context)?.found;
  if (!context) throw missing(`context ${contextName}`);
  const cluster = first((config) => config.clusters?.find(({ name }) => name === context.cluster)?.cluster);
  if (!cluster) throw missing(`cluster ${context.cluster}`);
  const user = first((config) => config.users?.find(({ name }) => name === context.user)?.user);
  if (cluster.found['proxy-url']) throw unsupported('proxy-url');

  const ca = material(cluster.folder, cluster.found, 'certificate-authority');
  const serverName = cluster.found['tls-server-name'];
  return {
    server: new URL(cluster.found.server),
    namespace: context.namespace ?? 'default',
    ...(ca === undefined ? {} : { ca }),
    ...(cluster.found['insecure-skip-tls-verify'] ? { insecureSkipTlsVerify: true } : {}),
    ...(serverName === undefined ? {} : { tlsServerName: serverName }),
    ...(user ? identity(user.folder, user.found, runPlugin) : {}),
  };
}

function readConfig(path: string): Config {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new AzekuraError('FailedPrecondition', `the kubeconfig ${path} cannot be read`, {
      next: 'set KUBECONFIG to the path of a kubeconfig that may be read',
      cause: error,
    });
  }
  try {
    return Config.parse(parse(text) ?? {});
  } catch (error) {
    // Neither the parser's nor the schema's message: they would quote the file, which holds secrets.
    const where = error instanceof z.ZodError ? ` at ${error.issues[0]?.path.join('.') ?? ''}` : '';
    throw new AzekuraError('InvalidArgument', `the kubeconfig ${path} is not valid${where}`, {
      next: 'compare it with the output of kubectl config view',
    });
  }
}

function identity(folder: string, user: User, runPlugin: Credentials['runPlugin']): Partial<Access> {
  if (user.username !== undefined) throw unsupported('username and password');
  if (user.as !== undefined) throw unsupported('impersonation');
  if (user['auth-provider'] !== undefined) throw unsupported('auth-provider');
  const certificate = material(folder, user, 'client-certificate');
  const key = material(folder, user, 'client-key');
  const token = tokenOf(folder, user, runPlugin);
  return {
    ...(certificate !== undefined && key !== undefined ? { clientCertificate: { certificate, key } } : {}),
    ...(token ? { token } : {}),
  };
}

function tokenOf(folder: string, user: User, runPlugin: Credentials['runPlugin']): Token | undefined {
  if (user.tokenFile !== undefined) return tokenFile(resolve(folder, user.tokenFile));
  if (user.token !== undefined) return fixedToken(user.token);
  const { exec } = user;
  if (!exec) return undefined;
  if (!runPlugin) throw unsupported(`the credential plugin ${exec.command}`);
  return expiringToken(async () => {
    const request = { apiVersion: exec.apiVersion, kind: 'ExecCredential', spec: { interactive: false } };
    const env = Object.fromEntries((exec.env ?? []).map(({ name, value }) => [name, value]));
    const output = await runPlugin([exec.command, ...(exec.args ?? [])], {
      ...env,
      KUBERNETES_EXEC_INFO: JSON.stringify(request),
    });
    const answer = ExecAnswer.safeParse(asJson(output));
    if (!answer.success)
      throw new AzekuraError('Unauthenticated', `the credential plugin ${exec.command} gave no token`, {
        next: `run ${exec.command} by hand`,
      });
    const { token, expirationTimestamp } = answer.data.status;
    return { token, expiresAtMs: expirationTimestamp === undefined ? undefined : Date.parse(expirationTimestamp) };
  });
}

/** k8s.io/client-go/pkg/apis/clientauthentication/v1 ExecCredential. */
const ExecAnswer = z.object({
  kind: z.literal('ExecCredential'),
  status: z.object({ token: z.string(), expirationTimestamp: z.string().optional() }),
});

function asJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** PEM from base64 in the file itself, or from a path beside it. */
function material<K extends 'certificate-authority' | 'client-certificate' | 'client-key'>(
  folder: string,
  from: { readonly [name in K | `${K}-data`]?: string | undefined },
  name: K,
): string | undefined {
  const data = from[`${name}-data`];
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  const path = from[name];
  if (path === undefined) return undefined;
  try {
    return readFileSync(resolve(folder, path), 'utf8');
  } catch (error) {
    throw new AzekuraError('FailedPrecondition', `the kubeconfig names a ${name} that cannot be read: ${path}`, {
      cause: error,
    });
  }
}

function unsupported(what: string): AzekuraError {
  return new AzekuraError('Unimplemented', `this program cannot use ${what} of a kubeconfig`, {
    next: 'use a client certificate or a token',
  });
}
