import { stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { Registration as RegistrationService } from '../../gen/csi/pluginregistration_pb.js';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { toAzekuraError } from '../../model/errors.ts';
import { adapt } from '../grpc/adapter.ts';
import type { CallMetrics } from '../grpc/metrics.ts';
import { createRunner } from '../grpc/runner.ts';
import { type GrpcServer, serve } from '../grpc/server.ts';

/** The kubelet watches a folder: a socket that vanishes takes the plugin with it, and nobody else would notice. */
const lookEveryMs = 10_000;
/** Of so many looks one asks the cluster, too: a thousand nodes together ask 33 times a second. */
const looksPerQuestion = 3;

export interface RegistrationOptions {
  /** The kubelet's root folder, for example /var/lib/kubelet. */
  readonly kubeletDir: string;
  readonly driverName: string;
  /** Path of the plugin's socket as the kubelet sees it. */
  readonly endpoint: string;
  /**
   * Whether the cluster knows that the driver is on this node. When the Node was deleted, Kubernetes removes its CSINode
   * too, sometimes after the kubelet has come back and written the driver into it: the kubelet believes that it is
   * registered, and no pod with a volume could start there again.
   */
  readonly isListed?: () => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The driver's entry in the kubelet's registry. */
export interface Registration {
  readonly socketPath: string;
  /** What the kubelet said last; undefined while it has not asked yet. */
  state(): { readonly registered: boolean; readonly error?: string } | undefined;
  /** Takes the socket away: the kubelet forgets the driver. */
  close(): Promise<void>;
}

/**
 * Makes the driver known to the kubelet (plugin registration v1): serves a socket in the folder that the kubelet watches,
 * and makes it anew when it is gone, or when the cluster has lost the driver. A kubelet that restarts finds the socket and
 * asks again.
 *
 * @throws AzekuraError FailedPrecondition when another process serves there; HostFailure when the folder cannot be used
 */
export async function registerWithKubelet(options: RegistrationOptions): Promise<Registration> {
  const entry = new RegistryEntry(options);
  await entry.open();
  return entry;
}

class RegistryEntry implements Registration {
  readonly socketPath: string;
  readonly #options: RegistrationOptions;
  readonly #log: Logger;
  #server: GrpcServer | undefined;
  #inode: number | undefined;
  #state: { readonly registered: boolean; readonly error?: string } | undefined;
  #cancel: () => void = () => {};
  #closed = false;
  #looks = 0;
  #looking: Promise<void> = Promise.resolve();

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#log = options.log.child({ part: 'registration' });
    this.socketPath = path.join(options.kubeletDir, 'plugins_registry', `${options.driverName}-reg.sock`);
  }

  state(): { readonly registered: boolean; readonly error?: string } | undefined {
    return this.#state;
  }

  async open(): Promise<void> {
    await this.#serve();
    this.#wait();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel();
    await this.#looking;
    await this.#end();
  }

  async #serve(): Promise<void> {
    const { driverName, endpoint, clock } = this.#options;
    const runner = createRunner({ clock, log: this.#log, metrics: uncounted });
    this.#server = await serve({
      socketPath: this.socketPath,
      services: [
        adapt(
          RegistrationService,
          {
            getInfo: async () => ({ type: 'CSIPlugin', name: driverName, endpoint, supportedVersions: ['1.0.0'] }),
            notifyRegistrationStatus: async ({ pluginRegistered, error }) => {
              this.#heard(pluginRegistered, error);
              return {};
            },
          },
          runner,
        ),
      ],
      runner,
      clock,
      log: this.#log,
    });
    this.#inode = await inodeOf(this.socketPath);
  }

  #heard(registered: boolean, error: string): void {
    this.#state = registered ? { registered } : { registered, error };
    if (registered) this.#log.info({}, 'the kubelet has registered the driver');
    else this.#log.error({ error }, 'the kubelet did not register the driver; it tries again');
  }

  #wait(): void {
    if (this.#closed) return;
    this.#cancel = this.#options.clock.after(lookEveryMs, () => {
      this.#looking = this.#look().finally(() => this.#wait());
    });
  }

  async #look(): Promise<void> {
    try {
      if (!this.#server || (await inodeOf(this.socketPath)) !== this.#inode)
        this.#log.warn({ socket: this.socketPath }, 'the registration socket is gone; it is made anew');
      else if (await this.#isForgotten())
        this.#log.warn(
          {},
          'the cluster does not list the driver on this node; the kubelet is asked to register it again',
        );
      else return;
      await this.#end();
      this.#state = undefined;
      await this.#serve();
    } catch (error) {
      this.#log.warn({ err: toAzekuraError(error) }, 'the registration socket could not be made');
    }
  }

  /** Whether the kubelet has registered the driver, and the cluster knows nothing of it. */
  async #isForgotten(): Promise<boolean> {
    const { isListed } = this.#options;
    if (!isListed || !this.#state?.registered || ++this.#looks % looksPerQuestion !== 0) return false;
    // A cluster that does not answer has not forgotten.
    return !(await isListed().catch(() => true));
  }

  async #end(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const own = (await inodeOf(this.socketPath)) === this.#inode;
    await server.close(500);
    // grpc-js removes the path when it stops, whoever's it is by then; what is left of ours goes here.
    if (own) await unlink(this.socketPath).catch(() => {});
  }
}

async function inodeOf(file: string): Promise<number | undefined> {
  return (await stat(file).catch(() => undefined))?.ino;
}

/** Two calls in a life need no metrics. */
const uncounted: Pick<CallMetrics, 'started' | 'ended'> = { started: () => {}, ended: () => {} };
