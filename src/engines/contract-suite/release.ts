import type { Host } from '../../host/host.ts';

/** Enough for a volume mounted on a pool mounted on an image. */
const rounds = 6;

/** Unmounts everything below a folder and detaches all loop devices on files in it, in whatever order that is possible. */
export async function releaseAll(host: Host, folder: string): Promise<void> {
  const kernel = host.kernel('release');
  for (let round = 0; round < rounds; round++) {
    const mounts = (await host.mounts()).filter((mount) => mount.target.startsWith(`${folder}/`));
    for (const mount of mounts.reverse()) await kernel.unmount(mount.target).catch(() => {});
    const loops = (await host.loops()).filter((loop) => loop.backingFile.startsWith(`${folder}/`));
    for (const loop of loops) await kernel.detachLoop(loop.device, loop.backingFile).catch(() => {});
    if (mounts.length === 0 && loops.length === 0) return;
  }
  throw new Error(`something below ${folder} cannot be released`);
}
