/** Certificates and kubeconfigs of one lab, made with openssl. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './exec.ts';

const days = '3650';
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
const clientUse = 'extendedKeyUsage=clientAuth';

/** Who a certificate stands for: a user and its group. */
const clients = {
  admin: '/O=system:masters/CN=admin',
  'controller-manager': '/CN=system:kube-controller-manager',
  scheduler: '/CN=system:kube-scheduler',
  proxy: '/CN=system:kube-proxy',
  'apiserver-kubelet': '/O=system:masters/CN=apiserver-kubelet',
};

export class Pki {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  file(name: string): string {
    return join(this.folder, name);
  }

  /** The CA, the API server's certificate, everybody's of the control plane, and the key of service accounts. */
  async create(): Promise<void> {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    await run([
      ...['openssl', 'req', '-x509', ...newKey, '-keyout', this.file('ca.key'), '-out', this.file('ca.crt')],
      ...['-days', days, '-subj', '/CN=lab-ca'],
    ]);
    const names = ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'];
    const alternatives = [
      ...names.map((n) => `DNS:${n}`),
      ...['127.0.0.1', '10.96.0.1', '10.245.0.1'].map((a) => `IP:${a}`),
    ];
    await Promise.all([
      this.#sign(
        'apiserver',
        '/CN=kube-apiserver',
        `subjectAltName=${alternatives.join(',')}\nextendedKeyUsage=serverAuth`,
      ),
      ...Object.entries(clients).map(([name, subject]) => this.#sign(name, subject, clientUse)),
      this.#serviceAccountKey(),
    ]);
  }

  /** A kubelet's certificate. */
  async createNode(name: string): Promise<void> {
    await this.#sign(name, `/O=system:nodes/CN=system:node:${name}`, clientUse);
  }

  /** Writes the kubeconfig of a certificate's owner. */
  writeConfig(name: string, file: string, server: string): void {
    const data = (path: string): string => readFileSync(this.file(path)).toString('base64');
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'lab',
      contexts: [{ name: 'lab', context: { cluster: 'lab', user: name } }],
      clusters: [{ name: 'lab', cluster: { server, 'certificate-authority-data': data('ca.crt') } }],
      users: [
        {
          name,
          user: { 'client-certificate-data': data(`${name}.crt`), 'client-key-data': data(`${name}.key`) },
        },
      ],
    };
    writeFileSync(file, `${JSON.stringify(config, null, 1)}\n`, { mode: 0o600 });
  }

  async #sign(name: string, subject: string, extensions: string): Promise<void> {
    const key = this.file(`${name}.key`);
    const request = await run(['openssl', 'req', '-new', ...newKey, '-keyout', key, '-subj', subject]);
    const file = this.file(`${name}.ext`);
    writeFileSync(file, extensions);
    await run(
      [
        ...['openssl', 'x509', '-req', '-CA', this.file('ca.crt'), '-CAkey', this.file('ca.key'), '-days', days],
        ...['-set_serial', `0x${crypto.randomUUID().replaceAll('-', '').slice(0, 16)}`, '-extfile', file],
        ...['-out', this.file(`${name}.crt`)],
      ],
      { input: request },
    );
  }

  async #serviceAccountKey(): Promise<void> {
    const [key, pub] = [this.file('sa.key'), this.file('sa.pub')];
    await run(['openssl', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-out', key]);
    await run(['openssl', 'pkey', '-in', key, '-pubout', '-out', pub]);
  }
}
