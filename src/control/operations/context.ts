import type { EngineCapabilities } from '../../engines/contract.ts';
import { timestamp } from '../../lib/clock.ts';
import { makeCause } from '../../model/cause.ts';
import { AzekuraError, blamed } from '../../model/errors.ts';
import type { Class, Kind, Resource, Volume } from '../../model/kinds.ts';
import { kinds } from '../../model/kinds.ts';
import type { OperationsDeps } from '../deps.ts';
import type { View } from '../view.ts';

/** What every operation works with. */
export class OperationsContext {
  readonly deps: OperationsDeps;

  constructor(deps: OperationsDeps) {
    this.deps = deps;
  }

  get view(): View {
    return this.deps.view;
  }

  get now(): string {
    return timestamp(this.deps.clock);
  }

  /** From the store itself, so that what was written a moment ago counts. @throws AzekuraError NotFound */
  async need<K extends Kind>(kind: K, name: string): Promise<Resource<K>> {
    const object = await this.deps.store.find(kind, name);
    if (object) return object;
    const plural = kinds[kind].plural;
    throw new AzekuraError('NotFound', `there is no ${word(kind)} "${name.slice(0, 64)}"`, {
      next: `list what there is with \`azekura ${commandOf[kind] ?? plural} list\``,
    });
  }

  /** A volume that is not being deleted. @throws AzekuraError NotFound, FailedPrecondition */
  async needVolume(name: string): Promise<Volume> {
    const volume = await this.need('Volume', name);
    if (volume.metadata.deletionTimestamp)
      throw new AzekuraError('FailedPrecondition', `volume ${name} is being deleted`, {
        next: `\`azekura volume undelete ${name}\` brings it back when it is in the recycle bin`,
      });
    return volume;
  }

  /** The class by name, or the default one. @throws AzekuraError NotFound with blame ClassNotFound; FailedPrecondition */
  async needClass(name: string | undefined): Promise<Class> {
    if (name !== undefined) {
      const found = await this.deps.store.find('Class', name);
      if (!found || found.metadata.deletionTimestamp)
        throw blamed('NotFound', makeCause('ClassNotFound', { class: name }));
      return found;
    }
    const chosen = this.view.classes.list().find((one) => one.spec.isDefault && !one.metadata.deletionTimestamp);
    if (chosen) return chosen;
    throw new AzekuraError('FailedPrecondition', 'no class is the default one', {
      next: 'name a class; `azekura class list` lists them',
    });
  }

  capabilities(engine: string): EngineCapabilities {
    return this.deps.engines(engine).capabilities;
  }

  /** @throws AzekuraError Unimplemented */
  require(engine: string, able: boolean, what: string): void {
    if (!able) throw new AzekuraError('Unimplemented', `engine ${engine} cannot ${what}`);
  }
}

const commandOf: Partial<Record<Kind, string>> = {
  Volume: 'volume',
  Snapshot: 'snapshot',
  SnapshotGroup: 'snapshot',
  Pool: 'pool',
  Class: 'class',
  Node: 'node',
  Task: 'task',
  RecycledVolume: 'volume',
};

/** "RecycledVolume" → "recycled volume". */
export function word(kind: string): string {
  return kind.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
}
