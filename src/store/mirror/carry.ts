import { hasCode } from '../../model/errors.ts';
import type { Kind, NewResource, Resource, StatusOf } from '../../model/kinds.ts';
import { annotations, finalizers } from '../../model/names.ts';
import type { LocalStore, Store } from '../store.ts';
import type { ByVolume, Informers } from './by-volume.ts';
import { isKubelets, type MirrorKind } from './flows.ts';
import { type MirrorAction, planMirror, sameJson } from './plan.ts';
import type { Trouble } from './stragglers.ts';

/** No object takes more actions at a time than this; what is left comes with the next round. */
export const mostRounds = 12;

export interface CarrierDeps {
  readonly local: LocalStore;
  readonly remote: Store;
  readonly nodeName: string;
  readonly there: Informers;
  /** Of the node's store. */
  readonly byVolume: Pick<ByVolume, 'replicas' | 'replicasOn' | 'attachments'>;
  /** Told whether an object stays different on the two sides, and why. */
  readonly onTrouble: (key: string, trouble: Trouble | undefined) => void;
}

/** Carries one object over: plans, does one action, looks again, until there is nothing to do. */
export class Carrier {
  readonly #deps: CarrierDeps;
  /** What the cluster answered to our own writes, until its watch tells the same. */
  readonly #answers = new Map<string, Resource<MirrorKind>>();
  /** Statuses that the cluster took over in another form (it knows other fields): written once, not for ever. */
  readonly #settled = new Map<string, { readonly wanted: unknown; readonly stored: unknown }>();

  constructor(deps: CarrierDeps) {
    this.#deps = deps;
  }

  /** The watch has told something newer than our own writes' answers. */
  heard(key: string): void {
    this.#answers.delete(key);
  }

  /**
   * @returns whether both sides say the same now, as far as they can
   * @throws AzekuraError what a store refuses; Unavailable while the cluster does not answer
   */
  async carry<K extends MirrorKind>(kind: K, name: string): Promise<boolean> {
    const { local, byVolume, onTrouble } = this.#deps;
    const key = `${kind}/${name}`;
    let overtaken = false;
    for (let round = 0; round < mostRounds; round++) {
      const here = await local.find(kind, name);
      const there = this.#ours(overtaken ? await this.#reread(kind, name) : this.#known(kind, name));
      overtaken = false;
      const action = planMirror(kind, here, there, {
        hasReplica: (volumeId) => byVolume.replicas(volumeId).length > 0,
        volumesOn: (poolName) => byVolume.replicasOn(poolName).map(({ spec }) => spec.volumeName),
        isUsed: (volumeId) => byVolume.attachments(volumeId).some(isKubelets),
      });
      onTrouble(key, action.do === 'keep' || action.do === 'conflict' ? action.do : undefined);
      if (action.do === 'none' || action.do === 'keep' || action.do === 'conflict') return true;
      if (action.do === 'report' && this.#isSettled(key, action.status, there)) return true;
      try {
        await this.#act(kind, name, action, here, there);
      } catch (error) {
        if (!hasCode(error, 'Conflict', 'NotFound', 'AlreadyExists')) throw error;
        overtaken = true;
      }
    }
    return false;
  }

  #known<K extends MirrorKind>(kind: K, name: string): Resource<K> | undefined {
    const answered = this.#answers.get(`${kind}/${name}`) as Resource<K> | undefined;
    return answered ?? this.#deps.there[kind].get(name);
  }

  /** What the memory has was overtaken: asks the cluster itself. */
  async #reread<K extends MirrorKind>(kind: K, name: string): Promise<Resource<K> | undefined> {
    const before = this.#deps.there[kind].get(name);
    const found = await this.#deps.remote.find(kind, name);
    if (found) this.#took(found, before);
    else this.#answers.delete(`${kind}/${name}`);
    return found;
  }

  /** Objects of other nodes are none of ours, whatever the watch tells. */
  #ours<K extends MirrorKind>(remote: Resource<K> | undefined): Resource<K> | undefined {
    if (!remote) return undefined;
    const { nodeName } = this.#deps;
    const owner = remote.kind === 'Node' ? remote.metadata.name : (remote.spec as { nodeName?: string }).nodeName;
    return owner === nodeName ? remote : undefined;
  }

  async #act<K extends MirrorKind>(
    kind: K,
    name: string,
    action: MirrorAction<K>,
    here: Resource<K> | undefined,
    there: Resource<K> | undefined,
  ): Promise<void> {
    const { local, remote } = this.#deps;
    const before = this.#deps.there[kind].get(name);
    switch (action.do) {
      case 'put':
        await local.put(action.object, here?.metadata.resourceVersion);
        return;
      case 'drop':
        await local.delete(kind, name, here ? { uid: here.metadata.uid } : {});
        return;
      case 'mark':
        if (here) await local.update(marked(here));
        return;
      case 'forget':
        if (here) await local.update(without(here, finalizers.mirror));
        return;
      case 'register':
        if (here) this.#took(await remote.create(nodeFrom(here)), before);
        return;
      case 'hold':
        if (there) this.#took(await remote.update(withFinalizer(there, finalizers.agent)), before);
        return;
      case 'release':
        if (there) this.#took(await remote.update(without(there, finalizers.agent)), before);
        return;
      case 'report': {
        if (!there) return;
        const answer = await remote.updateStatus({ ...there, status: action.status });
        this.#took(answer, before);
        this.#note(action.status, answer);
        return;
      }
      default:
        return;
    }
  }

  /**
   * Goes on from the answer, unless the watch has told of something meanwhile: then that is as new, or the next write
   * meets a conflict and looks again.
   *
   * @param before what the memory had when the call began
   */
  #took(answer: Resource<MirrorKind>, before: Resource<MirrorKind> | undefined): void {
    const { kind, metadata } = answer;
    if (this.#deps.there[kind].get(metadata.name) === before) this.#answers.set(`${kind}/${metadata.name}`, answer);
  }

  #note(wanted: StatusOf<Kind>, answer: Resource<MirrorKind>): void {
    const key = `${answer.kind}/${answer.metadata.name}`;
    if (sameJson(wanted, answer.status)) this.#settled.delete(key);
    else this.#settled.set(key, { wanted, stored: answer.status });
  }

  #isSettled(key: string, wanted: unknown, there: Resource<MirrorKind> | undefined): boolean {
    const settled = this.#settled.get(key);
    return settled !== undefined && sameJson(settled.wanted, wanted) && sameJson(settled.stored, there?.status);
  }
}

function marked<K extends Kind>(object: Resource<K>): Resource<K> {
  const noted = { ...object.metadata.annotations, [annotations.unknownToCluster]: 'true' };
  return { ...object, metadata: { ...object.metadata, annotations: noted } };
}

function without<K extends Kind>(object: Resource<K>, finalizer: string): Resource<K> {
  const left = object.metadata.finalizers.filter((one) => one !== finalizer);
  return { ...object, metadata: { ...object.metadata, finalizers: left } };
}

function withFinalizer<K extends Kind>(object: Resource<K>, finalizer: string): Resource<K> {
  return { ...object, metadata: { ...object.metadata, finalizers: [...object.metadata.finalizers, finalizer] } };
}

/** A Node registers itself with what its agent knows of it. */
function nodeFrom(here: Resource): NewResource<'Node'> {
  const { metadata, spec } = here as Resource<'Node'>;
  return { kind: 'Node', metadata: { name: metadata.name, labels: metadata.labels }, spec };
}
