import { timestamp } from '../lib/clock.ts';
import type { Cause } from '../model/cause.ts';
import type { VolumeStatus } from '../model/volume.ts';
import type { ControllerDeps } from './deps.ts';
import type { View } from './view.ts';

/** Keys of the controllers' queue. */
export const keys = {
  volume: (name: string) => `volume/${name}`,
  recycled: (name: string) => `recycled/${name}`,
  snapshot: (name: string) => `snapshot/${name}`,
  group: (name: string) => `group/${name}`,
  drain: (poolName: string) => `drain/${poolName}`,
  pressure: (poolName: string) => `pressure/${poolName}`,
  classes: 'classes',
  tasks: 'tasks',
} as const;

/** What every controller works with. */
export class ControlContext {
  readonly deps: ControllerDeps;
  readonly view: View;
  readonly trigger: (key: string, afterMs?: number) => void;
  /** What was written last as the status of a Volume, by its name, until the view has it too: see volume/write-status.ts. */
  readonly writtenStatuses = new Map<string, VolumeStatus>();

  constructor(deps: ControllerDeps, view: View, trigger: (key: string, afterMs?: number) => void) {
    this.deps = deps;
    this.view = view;
    this.trigger = trigger;
  }

  get now(): string {
    return timestamp(this.deps.clock);
  }
}

/** The causes as they are to be stored: each once, with the time at which it was first seen without a break. */
export function withSince(causes: readonly Cause[], before: readonly Cause[], now: string): Cause[] {
  const result: Cause[] = [];
  for (const cause of causes) {
    if (result.some((other) => other.code === cause.code && other.message === cause.message)) continue;
    result.push({ ...cause, since: cause.since ?? before.find((other) => other.code === cause.code)?.since ?? now });
  }
  return result;
}
