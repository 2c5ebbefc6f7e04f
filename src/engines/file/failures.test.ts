import { describe, expect, it } from 'vitest';
import { AzekuraError } from '../../model/errors.ts';
import { prepared, request } from './fake-world.ts';

describe('failures of the file engine', () => {
  it('a hung volume does not keep its neighbours from working', async () => {
    const { host, pool, engine } = await prepared();
    await engine().volumes.create(request(pool, 'other'));
    host.hangNext('attachLoop');
    await expect(engine().volumes.attach({ pool, volumeId: 'source' }, { readOnly: false })).rejects.toMatchObject({
      blame: { code: 'HungCall' },
    });
    await expect(engine().volumes.observe({ pool, volumeId: 'source' })).rejects.toMatchObject({
      blame: { code: 'HungCall' },
    });
    expect((await engine().volumes.attach({ pool, volumeId: 'other' }, { readOnly: false })).device).toMatch(
      /^\/dev\/loop/,
    );
    expect((await engine().pools.observe(pool)).present).toBe(true);
  });

  it('a full pool is named as the cause, and leaves nothing that counts', async () => {
    const { host, pool, engine } = await prepared();
    host.failNext('allocate', new AzekuraError('ResourceExhausted', 'fallocate: no space left'));
    const thick = request(pool, 'new', { provisioning: 'thick', mode: 'block' });
    await expect(engine().volumes.create(thick)).rejects.toMatchObject({
      code: 'ResourceExhausted',
      blame: { code: 'PoolFull' },
    });
    expect((await engine().volumes.observe(thick.volume)).present).toBe(false);
    await engine().volumes.create(thick);
    expect((await engine().volumes.observe(thick.volume)).present).toBe(true);
  });

  it('a pool that is gone is missing for everyone, and nothing is made in its place', async () => {
    const { host, pool, engine } = await prepared();
    await host.kernel('test').rename('/pool', '/elsewhere');
    await host.kernel('test').makeDirectory('/pool');
    expect((await engine().pools.observe(pool)).causes.map((cause) => cause.code)).toEqual(['PoolMissing']);
    await expect(engine().pools.open(pool)).rejects.toMatchObject({ blame: { code: 'PoolMissing' } });
    await expect(engine().volumes.create(request(pool, 'new'))).rejects.toMatchObject({
      blame: { code: 'PoolMissing' },
    });
    await expect(engine().volumes.observe({ pool, volumeId: 'source' })).rejects.toMatchObject({
      blame: { code: 'PoolMissing' },
    });
    expect(await host.kernel('test').listDirectory('/pool')).toEqual([]);
  });

  it('damaged identities are told, and the data stays usable', async () => {
    const { host, pool, engine } = await prepared();
    await host.kernel('test').writeTextFile('/pool/volumes/source/identity.json', '{"version":1}');
    const observed = await engine().volumes.observe({ pool, volumeId: 'source' });
    expect(observed).toMatchObject({ present: true, causes: [{ code: 'IdentityDamaged' }] });
    expect((await engine().pools.list(pool))[0]?.problem).toContain('identity');
    await engine().volumes.attach({ pool, volumeId: 'source' }, { readOnly: false });
    await engine().volumes.setIdentity({ pool, volumeId: 'source' }, request(pool, 'source').identity);
    expect((await engine().volumes.observe({ pool, volumeId: 'source' })).causes).toEqual([]);
  });

  it('a missing data file is told and never made anew', async () => {
    const { host, pool, engine } = await prepared();
    await host.kernel('test').removeTree('/pool/volumes/source/data');
    expect(await engine().volumes.observe({ pool, volumeId: 'source' })).toMatchObject({
      present: true,
      causes: [{ code: 'BackingMissing' }],
    });
    await engine().volumes.create(request(pool, 'source'));
    expect(await host.kernel('test').stat('/pool/volumes/source/data')).toBeUndefined();
    await expect(engine().volumes.attach({ pool, volumeId: 'source' }, { readOnly: false })).rejects.toMatchObject({
      code: 'NotFound',
    });
  });

  it('a device without direct I/O works, with a cause', async () => {
    const { host, pool, engine } = await prepared();
    host.machine.directIoWorks = false;
    const attached = await engine().volumes.attach({ pool, volumeId: 'source' }, { readOnly: false });
    expect(attached.causes.map((cause) => cause.code)).toEqual(['NotDirectIo']);
  });

  it('a pool whose identity is damaged is read from the copy, and mended when it is opened', async () => {
    const { host, pool, engine } = await prepared();
    await host.kernel('test').writeTextFile('/pool/azekura-pool.json', 'x');
    expect((await engine().pools.observe(pool)).causes.map((cause) => cause.code)).toContain('PoolIdentityDamaged');
    expect((await engine().pools.open(pool)).poolId).toBe(pool.poolId);
    expect((await engine().pools.observe(pool)).causes).toEqual([]);
    await host.kernel('test').writeTextFile('/pool/azekura-pool.json', 'x');
    await host.kernel('test').writeTextFile('/pool/.azekura-pool.json.copy', 'x');
    await expect(engine().pools.open(pool)).rejects.toMatchObject({
      code: 'DataLoss',
      blame: { code: 'PoolIdentityDamaged' },
    });
  });

  it('what an interrupted write left beside an identity is swept when nothing is at work', async () => {
    const { host, pool, engine } = await prepared();
    const left = '/pool/volumes/source/.identity.json.17-1.tmp';
    await host.kernel('test').writeTextFile(left, 'half');
    expect(await engine().pools.sweep(pool)).toEqual([]);
    expect(await engine().pools.sweep(pool, { idle: true })).toEqual([left]);
    expect(await engine().pools.sweep(pool, { idle: true })).toEqual([]);
  });
});
