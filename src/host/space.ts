import { statfs } from 'node:fs/promises';

/** What a glance at a file system tells. */
export interface Space {
  readonly sizeBytes: number;
  readonly freeBytes: number;
}

/**
 * A glance at the space of a file system without a helper process, for what is looked at all the time. It may hang as
 * every call can, so there is never more than one under way in the whole process: a second one is not made.
 *
 * @returns a function that answers undefined when it was not made, or when the path cannot be looked at
 */
export function spaceGlances(): (path: string) => Promise<Space | undefined> {
  let underWay = false;
  return async (path) => {
    if (underWay) return undefined;
    underWay = true;
    try {
      const { bsize, blocks, bfree } = await statfs(path);
      return { sizeBytes: bsize * blocks, freeBytes: bsize * bfree };
    } catch {
      return undefined;
    } finally {
      underWay = false;
    }
  };
}
