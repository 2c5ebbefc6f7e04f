/** The project's own image, with the content of deploy/image/Containerfile, made without a registry. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheRoot } from '../../go.ts';
import { run } from '../exec.ts';
import { withLock } from '../lock.ts';
import { projectRoot } from '../paths.ts';
import { buildImage } from './build.ts';

export const azekuraImage = { repository: 'localhost/azekura', tag: '1' };

/** The Debian packages of the image. */
export function imagePackages(): readonly string[] {
  return readFileSync(join(projectRoot, 'deploy/image/packages'), 'utf8').trim().split('\n');
}

/**
 * The archive of the image of a checkout's dist/.
 *
 * @param checkout this one unless told
 * @throws Error before `npm run build`
 */
export async function azekuraArchive(tag = azekuraImage.tag, checkout = projectRoot): Promise<string> {
  if (!existsSync(join(checkout, 'dist', 'cli.mjs'))) throw new Error('dist/ is missing: run `npm run build`');
  // One folder, since its path is part of what names the archive.
  const app = join(cacheRoot(), 'images', 'app');
  return withLock(join(cacheRoot(), 'locks', 'app-image'), async () => {
    await run([process.execPath, join(checkout, 'deploy/image/stage.mjs'), app]);
    return buildImage({
      reference: `${azekuraImage.repository}:${tag}`,
      layers: [
        { programs: [process.execPath] },
        { packages: imagePackages(), busybox: true },
        // The disks of the lab's machines are not among LVM's built-in kinds of device.
        { texts: { '/etc/lvm/lvmlocal.conf': 'devices { types=["ubd",16] }\n' } },
        { files: { [app]: '/app' }, links: { '/usr/local/bin/node': process.execPath } },
      ],
      entrypoint: [process.execPath, '/app/bin/azekura.mjs'],
      command: ['--help'],
    });
  });
}
