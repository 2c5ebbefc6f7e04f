import { pino } from 'pino';
import type { Logger } from '../lib/log.ts';
import { AzekuraError } from '../model/errors.ts';

const keptLines = 1_000;

export interface LogOptions {
  readonly level: string;
  /** JSON lines; otherwise one readable line for people. */
  readonly json: boolean;
  write(text: string): void;
}

export interface Log {
  readonly log: Logger;
  /** The newest lines as JSON, oldest first: for the support bundle. */
  recent(): readonly string[];
}

/** The log of the daemon: to standard output, and the newest lines in memory. */
export function createLog({ level, json, write }: LogOptions): Log {
  let lines: string[] = [];
  const destination = {
    write(line: string) {
      lines.push(line);
      // Cut in halves, so that not every line moves all others.
      if (lines.length > 2 * keptLines) lines = lines.slice(-keptLines);
      write(json ? line : humanLine(line));
    },
  };
  const formatters = { level: (label: string) => ({ level: label }) };
  const serializers = { err: describeError };
  const log = pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters, serializers },
    destination,
  );
  return { log, recent: () => lines.slice(-keptLines) };
}

/**
 * An error for the log. Not pino's own serializer: that marks whatever looks like an error while it walks it, and throws
 * on a cause that came out of the store frozen, which once ended the daemon in the middle of a hung disk.
 */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const cause = error.cause === undefined ? {} : { cause: describeError(error.cause) };
  if (error instanceof AzekuraError) {
    const { code, message, blame, details } = error;
    return {
      code,
      message,
      ...(blame ? { blame: blame.code } : {}),
      ...(Object.keys(details).length > 0 ? { details } : {}),
      ...cause,
    };
  }
  return { name: error.name, message: error.message, stack: error.stack, ...cause };
}

/** "12:03:41 info  call method=GET path=/status". */
export function humanLine(line: string): string {
  const { time, level, msg, ...fields } = JSON.parse(line) as { time: string; level: string; msg: string } & Record<
    string,
    unknown
  >;
  const rest = Object.entries(fields).map(
    ([key, value]) => ` ${key}=${typeof value === 'string' && !/\s/.test(value) ? value : JSON.stringify(value)}`,
  );
  return `${time.slice(11, 19)} ${level.padEnd(5)} ${msg}${rest.join('')}\n`;
}
