import { AzekuraError } from '../../model/errors.ts';
import type { Engine, EngineDefinition, EngineDiff, EngineSnapshots, RangePage, SnapshotRef } from '../contract.ts';
import type { EncryptedContext, EncryptionOptions } from './context.ts';
import { keepHeaderAtRest } from './header.ts';
import { behind, inwardSnapshot, layerOf, outwardOnDisk, outwardSnapshot } from './identity.ts';
import { encryptedVolumes } from './volumes.ts';

export type { EncryptionOptions } from './context.ts';
export { outwardOnDisk } from './identity.ts';

/** An engine whose volumes are encrypted: the contract above, LUKS2 between, the engine below. */
export function encrypted(definition: EngineDefinition, options: EncryptionOptions): EngineDefinition {
  return {
    ...definition,
    // The file system lies on the mapping: bringing the device below to rest does not bring it to rest.
    capabilities: { ...definition.capabilities, cutHoldsMounted: false, unwrittenIsZero: false },
    create(deps) {
      const inner = definition.create(deps);
      const context: EncryptedContext = { ...options, deps, inner };
      const { snapshots, diff, suspend } = inner;
      const engine: Engine = {
        pools: { ...inner.pools, list: async (pool) => (await inner.pools.list(pool)).map(outwardOnDisk) },
        volumes: encryptedVolumes(context),
        ...(snapshots ? { snapshots: encryptedSnapshots(context, snapshots) } : {}),
        ...(diff ? { diff: diffOfVolumes(inner, diff) } : {}),
        ...(suspend ? { suspend } : {}),
      };
      return engine;
    },
  };
}

function encryptedSnapshots(context: EncryptedContext, snapshots: EngineSnapshots): EngineSnapshots {
  const { inner } = context;
  const { restore } = snapshots;
  const layerOfSnapshot = async (ref: SnapshotRef) => (await snapshots.observe(ref)).identity?.encryption;
  return {
    ...snapshots,
    commit: async (ref, identity) => {
      const layer = layerOf((await inner.volumes.observe(ref)).identity);
      return snapshots.commit(ref, inwardSnapshot(identity, layer));
    },
    observe: async (ref) => {
      const { identity, ...seen } = await snapshots.observe(ref);
      const before = identity?.encryption?.headerBytes ?? layerOf(undefined).headerBytes;
      return {
        ...seen,
        sizeBytes: Math.max(0, seen.sizeBytes - before),
        ...(identity ? { identity: outwardSnapshot(identity) } : {}),
      };
    },
    ...(restore
      ? {
          async restore(ref) {
            const layer = await layerOfSnapshot(ref);
            const { identity } = await inner.volumes.observe(ref);
            const write = async () => {
              if (!layer || !identity || layerOf(identity).state === layer.state) return;
              const encryption = { ...(identity.encryption ?? { kind: 'luks2' as const }), layer };
              await inner.volumes.setIdentity(ref, { ...identity, encryption });
            };
            // What says that there is nothing worth keeping is written after the bytes that it would be said of are gone.
            const backwards = layer !== undefined && order[layer.state] < order[layerOf(identity).state];
            // The snapshot's own header may be from before a change of key.
            await keepHeaderAtRest(context, ref);
            if (!backwards) await write();
            await restore(ref);
            if (backwards) await write();
          },
        }
      : {}),
  };
}

const order = { blank: 0, header: 1, ready: 2 } as const;

/**
 * Ranges of volumes, encrypted or not, by those of what an engine stores; what changed in a header is nobody's concern.
 *
 * @throws AzekuraError FailedPrecondition when the snapshot's identity, which says whether there is a header, cannot be read
 */
export function diffOfVolumes(inner: Engine, diff: EngineDiff): EngineDiff {
  const headerOf = async (ref: SnapshotRef) => {
    const seen = await inner.snapshots?.observe(ref);
    if (seen?.present && !seen.identity)
      throw new AzekuraError('FailedPrecondition', `the identity of snapshot ${ref.snapshotId} cannot be read`);
    return seen?.identity?.encryption?.headerBytes ?? 0;
  };
  const shifted = async (
    ref: SnapshotRef,
    page: { readonly fromBytes: number; readonly limit: number },
    ask: (page: { readonly fromBytes: number; readonly limit: number }) => Promise<RangePage>,
  ): Promise<RangePage> => {
    const before = await headerOf(ref);
    const { ranges, nextBytes } = await ask({ ...page, fromBytes: page.fromBytes + before });
    return {
      ranges: ranges.flatMap((range) => behind(range, before)),
      ...(nextBytes === undefined ? {} : { nextBytes: Math.max(0, nextBytes - before) }),
    };
  };
  return {
    allocated: (ref, page) => shifted(ref, page, (inside) => diff.allocated(ref, inside)),
    changed: (base, target, page) => shifted(target, page, (inside) => diff.changed(base, target, inside)),
  };
}
