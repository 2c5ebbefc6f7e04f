import type { Token } from './token.ts';

/** Where an API server is, how to know it, and who we are. */
export interface Access {
  /** https://host:port, perhaps with a path before /api. */
  readonly server: URL;
  /** PEM certificates of those who sign the server's; the system's when absent. */
  readonly ca?: string;
  /** Only for clusters whose kubeconfig says so in these words. */
  readonly insecureSkipTlsVerify?: boolean;
  readonly tlsServerName?: string;
  /** PEM; both or none. */
  readonly clientCertificate?: { readonly certificate: string; readonly key: string };
  readonly token?: Token;
  /** The namespace that is meant when none is named. */
  readonly namespace: string;
}
