import { readFileSync } from 'node:fs';
import manifest from '../../package.json' with { type: 'json' };

export interface Version {
  readonly version: string;
  /** The hash of the bundle, or "source" when it runs from the sources. */
  readonly build: string;
}

/** The version of the package and the id of the build, which scripts/build.mjs writes beside the bundle. */
export function readVersion(): Version {
  const { version } = manifest;
  try {
    const info = JSON.parse(readFileSync(new URL('./build-info.json', import.meta.url), 'utf8')) as { build: string };
    return { version, build: info.build };
  } catch {
    return { version, build: 'source' };
  }
}
