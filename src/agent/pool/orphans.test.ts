import { afterEach, describe, expect, it } from 'vitest';
import { change } from '../../store/change.ts';
import { AgentFixture } from '../fixture.ts';

const mebibyte = 2 ** 20;
let fixture: AgentFixture;
afterEach(() => fixture.close());

/** What is found of a volume whose identity cannot be read. */
async function found(content: 'xfs' | 'crypto_LUKS' | 'none') {
  fixture = await AgentFixture.open();
  const kernel = fixture.host.kernel('test');
  const folder = '/disk/pool/volumes/lost';
  await kernel.makeDirectory(folder);
  await kernel.createSparse(`${folder}/data`, 68 * mebibyte);
  await kernel.writeTextFile(`${folder}/identity.json`, 'gone');
  if (content !== 'none') fixture.host.format(`${folder}/data`, content);
  await change(fixture.store, 'Pool', 'main', ({ spec }) => ({ spec: { ...spec, scan: { requestId: 'look' } } }));
  const pool = await fixture.until('Pool', 'main', (one) => one?.status.orphans?.requestId === 'look');
  return pool?.status.orphans?.volumes[0];
}

describe('a volume without objects and without identity', () => {
  it('is known by its header to be encrypted, and is as large as what lies behind it', async () => {
    expect(await found('crypto_LUKS')).toMatchObject({
      volumeId: 'lost',
      sizeBytes: 64 * mebibyte,
      mode: 'filesystem',
      encryption: { kind: 'luks2' },
    });
  });

  it('is known by its file system, and is raw without one', async () => {
    expect(await found('xfs')).toMatchObject({ sizeBytes: 68 * mebibyte, mode: 'filesystem', filesystem: 'xfs' });
    await fixture.close();
    const raw = await found('none');
    expect([raw?.mode, raw?.encryption]).toEqual(['block', undefined]);
  });
});
