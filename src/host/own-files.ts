import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { kernelError } from './kernel/failure.ts';
import { errnoOf, failureOf } from './kernel/raise.ts';

/**
 * Small files of the instance itself, below its data folder, in this process: they lie where the store lies, and when
 * that place hangs, so does the store. Nothing else may be asked for here. They outlive the process, not a power cut.
 */
export interface OwnFiles {
  /** Undefined when it is not there. */
  read(path: string): string | undefined;
  /** Replaces the file (mode 0600) in one instant; its folder is made when it is missing. */
  write(path: string, text: string): void;
  /** Not an error when it is not there. */
  remove(path: string): void;
}

const ENOENT = 2;

/** The real ones. Their errors are those of Kernel's calls. */
export const ownFiles: OwnFiles = {
  read(path) {
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      if (errnoOf(error) === ENOENT) return undefined;
      throw kernelError(failureOf(error, 'read', path));
    }
  },
  write(path, text) {
    const temporary = `${path}.tmp`;
    const replace = () => {
      writeFileSync(temporary, text, { mode: 0o600 });
      renameSync(temporary, path);
    };
    try {
      try {
        replace();
      } catch (error) {
        if (errnoOf(error) !== ENOENT) throw error;
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
        replace();
      }
    } catch (error) {
      throw kernelError(failureOf(error, 'write', path));
    }
  },
  remove(path) {
    try {
      rmSync(path, { force: true });
    } catch (error) {
      throw kernelError(failureOf(error, 'unlink', path));
    }
  },
};
