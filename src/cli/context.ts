import type { Command } from 'commander';
import type { Host } from '../host/host.ts';
import type { Client } from './client.ts';
import type { GlobalOptions, OutputFormat } from './options.ts';
import type { Terminal } from './terminal.ts';

/** What bin/ hands in, since the command line may not import it: the roles that run in this process. */
export interface Roles {
  up(options: UpOptions): Promise<number>;
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
