/** Where the lab keeps what it builds and what it runs. Nothing of it lies in the checkout. */
import { join } from 'node:path';
import { cacheRoot } from '../go.ts';

/** The folder of this lab's sources. */
export const labSources = import.meta.dirname;

/** The checkout that the lab belongs to. */
export const projectRoot = join(labSources, '..', '..');

/** The names a lab may have: they become names of folders and cgroups. */
const labName = /^[a-z0-9-]{1,24}$/;

/** @throws Error unless the name may be a lab's */
export function checkLabName(name: string): string {
  if (!labName.test(name)) throw new Error(`a lab's name has 1 to 24 of a-z, 0-9 and -, not "${name}"`);
  return name;
}

/** The folder of one running lab: disks of its nodes, logs, certificates. Gone when the lab is. */
export function runFolder(name: string): string {
  return join(cacheRoot(), 'kubernetes-labs', checkLabName(name));
}

/** What serialises starting and ending a lab; it outlives the lab's folder. */
export function lockFile(name: string): string {
  return join(cacheRoot(), 'locks', name);
}
