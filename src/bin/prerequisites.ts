import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCause } from '../model/cause.ts';
import { AzekuraError, blamed } from '../model/errors.ts';

/** Programs without which nothing works, and the Debian package of each. */
const tools = [
  { tool: 'mkfs.xfs', package: 'xfsprogs' },
  { tool: 'xfs_repair', package: 'xfsprogs' },
  { tool: 'mkfs.ext4', package: 'e2fsprogs' },
  { tool: 'e2fsck', package: 'e2fsprogs' },
] as const;

export interface Prerequisites {
  readonly uid: number | undefined;
  /** Where programs are looked for. */
  readonly folders: readonly string[];
}

/** PATH, and the places of system programs, which the PATH of a service may lack. */
export function programFolders(path: string): readonly string[] {
  const places = [...path.split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
  return [...new Set(places)].filter((folder) => folder !== '');
}

/**
 * Checks what the process needs before it touches anything.
 *
 * @throws AzekuraError PermissionDenied when not root, FailedPrecondition with the cause ToolMissing that lists all
 */
export async function checkPrerequisites({ uid, folders }: Prerequisites): Promise<void> {
  if (uid !== 0) {
    throw new AzekuraError(
      'PermissionDenied',
      'Azekura must run as root on a node, since it mounts file systems and makes loop devices',
      {
        next: 'run it with sudo, or with the unit in deploy/',
      },
    );
  }
  const missing: (typeof tools)[number][] = [];
  for (const tool of tools) if (!(await isInstalled(tool.tool, folders))) missing.push(tool);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((each) => each.package))].join(' ');
  const cause = makeCause('ToolMissing', { tool: missing.map((each) => each.tool).join(', '), package: packages });
  throw blamed('FailedPrecondition', cause, {
    next: `install what is missing, on Debian and Ubuntu with \`apt-get install ${packages}\``,
  });
}

async function isInstalled(tool: string, folders: readonly string[]): Promise<boolean> {
  for (const folder of folders) {
    const found = await access(join(folder, tool), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
}
