import { access, chmod, constants, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AzekuraError } from '../model/errors.ts';

/** sockaddr_un.sun_path of unix(7), without the terminating zero. */
const maximumSocketPathBytes = 107;

/** Where the parts of an instance lie. */
export interface DataDir {
  readonly path: string;
  readonly state: string;
  readonly socket: string;
  readonly pools: string;
  readonly run: string;
  readonly trialMarker: string;
}

export function layoutOf(path: string): DataDir {
  return {
    path,
    state: join(path, 'state'),
    socket: join(path, 'azekura.sock'),
    pools: join(path, 'pools'),
    run: join(path, 'run'),
    trialMarker: join(path, 'trial-pool-made'),
  };
}

const readme = `This folder is one instance of Azekura, a storage system.

  state/         objects: volumes, pools, snapshots (LMDB)
  azekura.sock   the API; only root can open it
  pools/         pools that lie in this folder, with the data of their volumes
  mounts/        where volumes are mounted before they appear at their paths
  run/           notes for the time of a run

Do not edit or delete anything by hand. The data can be read without Azekura: \`azekura rescue list\` on this folder
needs nothing but the disk. To take Azekura off this machine: \`azekura uninstall\`, which keeps the data.
`;

/**
 * Makes the folder for its owner only, with a note that says what it is.
 *
 * @throws AzekuraError InvalidArgument when the path cannot hold an instance
 */
export async function prepareDataDir(path: string): Promise<DataDir> {
  const layout = layoutOf(path);
  if (path === '/') throw new AzekuraError('InvalidArgument', 'the data folder must not be /');
  if (Buffer.byteLength(layout.socket) > maximumSocketPathBytes) {
    throw new AzekuraError('InvalidArgument', `the path of the data folder ${path} is too long for a unix socket`, {
      next: 'choose one of at most 80 bytes',
    });
  }
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await chmod(path, 0o700);
    await access(path, constants.W_OK);
    for (const folder of [layout.pools, layout.run]) await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(join(path, 'README'), readme, { mode: 0o600 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new AzekuraError(
      code === 'ENOSPC' ? 'ResourceExhausted' : 'InvalidArgument',
      `the data folder ${path} cannot be used: ${code ?? String(error)}`,
      {
        next: 'name a folder on a writable disk with --data-dir',
        cause: error,
      },
    );
  }
  return layout;
}
