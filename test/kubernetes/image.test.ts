/** The container image. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { imagePackages } from '../../lab/kubernetes/image/azekura.ts';
import { root } from './chart.ts';

describe('the image', () => {
  const containerfile = readFileSync(path.join(root, 'deploy/image/Containerfile'), 'utf8');

  it('installs the packages of the list, which has the programs that `azekura up` asks for', () => {
    expect(containerfile).toContain('xargs apt-get install -y --no-install-recommends < /tmp/packages');
    const packages = imagePackages();
    expect(packages).toEqual([...packages].sort());
    expect(packages).toEqual(expect.arrayContaining(['xfsprogs', 'e2fsprogs', 'util-linux', 'mount']));
  });

  it('puts ours together as the lab does', () => {
    expect(containerfile).toContain('node deploy/image/stage.mjs /app');
  });
});
