/** The images that the lab itself knows. */
import { type Binary, binary } from '../binaries.ts';
import { azekuraArchive } from './azekura.ts';
import { buildImage, type Image } from './build.ts';
import { postgresArchive } from './postgres.ts';

const sidecars: readonly Binary[] = [
  'csi-provisioner',
  'csi-attacher',
  'csi-resizer',
  'csi-snapshotter',
  'snapshot-controller',
];

/** Names of the sidecars' images. */
export const sidecarImages: readonly string[] = sidecars;

function goImage(name: Binary): Image {
  return {
    reference: `localhost/${name}:1`,
    layers: [{ files: { [binary(name)]: `/${name}` } }],
    entrypoint: [`/${name}`],
  };
}

function image(name: string): Image {
  switch (name) {
    case 'busybox':
      return { reference: 'localhost/busybox:1', layers: [{ busybox: true }], command: ['/bin/sh'] };
    case 'pause':
    case 'labtool':
      return goImage(name);
    default: {
      const sidecar = sidecars.find((candidate) => candidate === name);
      if (sidecar === undefined)
        throw new Error(`no image ${name}: azekura, postgres, pause, busybox, labtool, ${sidecars.join(', ')}`);
      return goImage(sidecar);
    }
  }
}

/** The archive of an image, made when it is not there. Its reference is localhost/NAME:1. */
export function imageArchive(name: string): Promise<string> {
  if (name === 'azekura') return azekuraArchive();
  return name === 'postgres' ? postgresArchive() : buildImage(image(name));
}

/** What every node has. */
export function baseImages(): Promise<string[]> {
  return Promise.all([imageArchive('pause'), imageArchive('busybox')]);
}
