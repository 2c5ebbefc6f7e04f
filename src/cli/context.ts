import type { Command } from 'commander';
import type { Host } from '../host/host.ts';
import type { PoolRule } from '../model/pool-rule.ts';
import type { Client } from './client.ts';
import type { GlobalOptions, OutputFormat } from './options.ts';
import type { Terminal } from './terminal.ts';

/** What bin/ hands in, since the command line may not import it: the roles that run in this process. */
export interface Roles {
  up(options: UpOptions): Promise<number>;
  agent(options: AgentOptions): Promise<number>;
  controller(options: ControllerOptions): Promise<number>;
  uninstall(options: UninstallOptions, terminal: Terminal): Promise<number>;
  rescueHost(): Promise<{ readonly host: Host; close(): Promise<void> }>;
  readonly version: { readonly version: string; readonly build: string };
}

export interface UpOptions {
  readonly dataDir: string;
  readonly pool: boolean;
  readonly poolSizeBytes?: number;
  /** What CSI tells the orchestrator, and enforces. */
  readonly maxVolumesPerNode?: number;
  readonly logLevel: string;
  readonly jsonLog: boolean;
  readonly listen?: string;
  readonly tokenFile?: string;
}

/** A node of a Kubernetes cluster. */
export interface AgentOptions {
  /** The name of the Kubernetes node. */
  readonly nodeName: string;
  readonly dataDir: string;
  /** The kubelet's root folder. */
  readonly kubeletDir: string;
  readonly kubeconfig?: string;
  readonly maxVolumesPerNode?: number;
  /** Where probes and metrics are answered; nowhere when absent. */
  readonly healthListen?: string;
  readonly logLevel: string;
  readonly jsonLog: boolean;
}

/** One of the controllers of a Kubernetes cluster. */
export interface ControllerOptions {
  readonly kubeconfig?: string;
  /** Where the Lease is. */
  readonly namespace?: string;
  /** Who this process is, in the Lease: the pod's name. */
  readonly identity?: string;
  /** For the API's and the driver's socket. */
  readonly runDir: string;
  /** Whether room is kept for all claims of a pod at once. */
  readonly reservations: boolean;
  /** Where kube-scheduler asks; nowhere when absent. */
  readonly extenderListen?: string;
  readonly healthListen?: string;
  readonly listen?: string;
  readonly tokenFile?: string;
  /** By which nodes are given pools; none are made without. */
  readonly pools: readonly PoolRule[];
  readonly logLevel: string;
  readonly jsonLog: boolean;
}

export interface UninstallOptions {
  readonly dataDir: string;
  readonly deleteData: boolean;
  readonly yes: boolean;
}

/** What a command works with. */
export interface Context {
  readonly terminal: Terminal;
  readonly roles: Roles;
  readonly env: Readonly<Record<string, string | undefined>>;
  nowMs(): number;
  globals(): GlobalOptions;
  /** Checked: one of the formats. @throws AzekuraError InvalidArgument */
  format(): OutputFormat;
  client(): Promise<Client>;
  /** The whole tree of commands, with the verbs of the group that these words name: for completion. */
  program(words: readonly string[]): Promise<Command>;
  /** For commands that succeed in telling bad news. */
  setExitCode(code: number): void;
}
