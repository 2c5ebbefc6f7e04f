import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from '../src/host/host.ts';
import type { Kernel } from '../src/host/kernel.ts';
import { createHost } from '../src/host/linux.ts';
import { systemClock } from '../src/lib/clock.ts';
import { silentLogger } from '../src/lib/log.ts';

/** A host, and an XFS with reflink on a loop device for its tests. */
export interface HostPool {
  readonly host: Host;
  readonly kernel: Kernel;
  /** A folder in memory; the pool's image and mount point lie in it. */
  readonly scratch: string;
  readonly image: string;
  /** Where the pool is mounted. */
  readonly pool: string;
  readonly device: string;
  end(): Promise<void>;
}

const imageBytes = 512 * 1024 ** 2;

export async function makeHostPool(): Promise<HostPool> {
  const host = createHost({ log: silentLogger, clock: systemClock });
  const kernel = host.kernel('test/host');
  const scratch = mkdtempSync('/dev/shm/azekura-host-');
  const image = join(scratch, 'pool.img');
  const pool = join(scratch, 'pool');
  await kernel.createSparse(image, imageBytes);
  const { device } = await kernel.attachLoop(image);
  await host.exec(['mkfs.xfs', '-q', '-K', '-m', 'reflink=1', '-s', 'size=4096', device]);
  await kernel.makeMountPoint(pool, 'directory');
  await kernel.mount({ source: device, target: pool, filesystem: 'xfs', options: ['noatime'] });
  return {
    host,
    kernel,
    scratch,
    image,
    pool,
    device,
    async end() {
      await kernel.unmount(pool);
      await kernel.detachLoop(device, image);
      await host.close();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}
