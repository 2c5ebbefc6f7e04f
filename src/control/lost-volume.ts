import { type Cause, makeCause } from '../model/cause.ts';
import type { View } from './view.ts';

/**
 * Where the data of a volume lies whose object is not there: it was removed by force, or with its definition, or the
 * machine came from elsewhere. Undefined when no replica and no open pool tells of it.
 *
 * @param volumeId what Kubernetes calls the handle
 */
export function lostVolumeCause(view: Pick<View, 'replicasOf' | 'pools'>, volumeId: string): Cause | undefined {
  const [replica] = view.replicasOf(volumeId);
  if (replica) {
    const { nodeName: node, poolName: pool, volumeName: volume } = replica.spec;
    return makeCause('VolumeObjectMissing', { volume, volumeId, pool, node });
  }
  for (const { metadata, spec, status } of view.pools.list()) {
    const orphan = status.orphans?.volumes.find((one) => one.volumeId === volumeId);
    if (orphan)
      return makeCause('VolumeObjectMissing', {
        volume: orphan.name ?? volumeId,
        volumeId,
        pool: metadata.name,
        node: spec.nodeName,
      });
  }
  return undefined;
}
