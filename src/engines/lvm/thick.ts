import { lvcreateThick } from '../../host/lvm/argv.ts';
import { freeExtents } from '../../host/lvm/group.ts';
import { overheadOf } from '../../model/disk-layout.ts';
import type { CreateVolume } from '../contract.ts';
import { type LvmContext, poolFull, roundUp } from './context.ts';
import { volumeName } from './entries.ts';
import type { FoundGroup } from './find.ts';
import { layoutOf } from './parameters.ts';
import { type LvTags, writeTags } from './tags.ts';

/**
 * Allocates a thick volume, which does not count yet: its bytes are those that others have left on the disks.
 *
 * @param step what the step is called
 * @param tags as they are to be once the volume counts
 * @param atLeastBytes of the device, where more is needed than was asked for
 * @returns its name
 * @throws AzekuraError ResourceExhausted with blame PoolFull
 */
export async function allocateThick(
  context: LvmContext,
  step: string,
  { volume, identity, parameters }: CreateVolume,
  found: FoundGroup,
  tags: LvTags,
  atLeastBytes = 0,
): Promise<string> {
  const { group } = found;
  const layout = layoutOf(parameters, group.physical.length - found.missing.length);
  const extents = roundUp(found, Math.max(identity.sizeBytes, atLeastBytes)) / group.extentBytes;
  const free = freeExtents(group);
  if (extents * overheadOf(layout) > free)
    throw poolFull(volume.pool, identity.sizeBytes, Math.floor(free / overheadOf(layout)) * group.extentBytes);
  const name = volumeName(volume.volumeId, 0);
  const options = { extents, layout, tags: writeTags({ ...tags, state: 'new' }) };
  await context.run(step, volume.pool, found, lvcreateThick(group.name, name, options));
  return name;
}
