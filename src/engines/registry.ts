import { AzekuraError } from '../model/errors.ts';
import type { EngineDefinition } from './contract.ts';
import { fileEngine } from './file/engine.ts';
import { lvmEngine } from './lvm/engine.ts';

/** All engines. A new one is a folder beside this file and one line here. */
const engines: readonly EngineDefinition[] = [fileEngine, lvmEngine];

export const engineKinds: readonly string[] = engines.map((engine) => engine.kind);

/** @throws AzekuraError InvalidArgument for a kind that is not there */
export function engineDefinition(kind: string): EngineDefinition {
  const engine = engines.find((candidate) => candidate.kind === kind);
  if (!engine) throw new AzekuraError('InvalidArgument', `engine "${kind}" is not one of ${engineKinds.join(', ')}`);
  return engine;
}
