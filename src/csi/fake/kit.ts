/** What the tests of the services share. */
import type { CallError } from '../../../lab/csi/client.ts';
import { VolumeCapability_AccessMode_Mode as Mode } from '../../gen/csi/csi_pb.js';
import type { Driver } from './driver.ts';

export const gib = 2n ** 30n;

/** A capability for a file system. @param value of its MountVolume */
export const mount = (mode = Mode.SINGLE_NODE_WRITER, value: object = {}) => ({
  accessType: { case: 'mount' as const, value },
  accessMode: { mode },
});

/** A capability for a raw block device. */
export const block = {
  accessType: { case: 'block' as const, value: {} },
  accessMode: { mode: Mode.SINGLE_NODE_WRITER },
};

/** The name of the code that a call is answered with. */
export const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'OK',
    (error: CallError) => error.codeName,
  );

/** Makes a volume of 1 GiB. @param extra fields of the request. @returns its handle */
export async function makeVolume(driver: Driver, name: string, extra: object = {}): Promise<string> {
  const answer = await driver.client.controller.createVolume({
    name,
    capacityRange: { requiredBytes: gib },
    volumeCapabilities: [mount()],
    ...extra,
  });
  return answer.volume?.volumeId ?? '';
}
