import { AzekuraError } from '../model/errors.ts';

export const outputFormats = ['table', 'wide', 'json', 'yaml', 'name'] as const;
export type OutputFormat = (typeof outputFormats)[number];

/** Options that every command understands. */
export interface GlobalOptions {
  readonly dataDir: string;
  readonly server?: string;
  readonly tokenFile?: string;
  /** As typed; output.ts checks it. */
  readonly output?: string;
  readonly color: boolean;
  readonly timeoutMs: number;
  readonly wait: boolean;
  readonly dryRun: boolean;
}

/** @throws AzekuraError InvalidArgument for a format that is not there */
export function parseFormat(text: string | undefined): OutputFormat {
  const format = outputFormats.find((each) => each === (text ?? 'table'));
  if (format) return format;
  throw new AzekuraError('InvalidArgument', `output format "${text ?? ''}" is not one of ${outputFormats.join(', ')}`);
}
