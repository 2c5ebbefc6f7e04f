import { Gauge, type Registry } from 'prom-client';
import { someOf } from '../lib/some-of.ts';
import { type Cause, makeCause } from '../model/cause.ts';
import type { Mirror } from '../store/mirror/mirror.ts';

/** Silence of the cluster for so long is told: its watches speak at least once a minute. */
const silenceMs = 3 * 60_000;

/** Shows how a mirror is doing. */
export function registerMirrorMetrics(registry: Registry, mirror: Mirror): void {
  const registers = [registry];
  const gauge = (name: string, help: string, value: () => number) => {
    const made: Gauge = new Gauge({ name, help, registers, collect: () => made.set(value()) });
  };
  const seconds = (ms: number | undefined) => (ms === undefined ? 0 : ms / 1_000);
  gauge('azekura_mirror_lag_seconds', 'How long the oldest change waits to be carried over', () =>
    seconds(mirror.state().lagMs),
  );
  gauge('azekura_mirror_pending', 'Objects with changes that are not carried over yet', () => mirror.state().pending);
  gauge('azekura_mirror_reachable', 'Whether the cluster answered last', () => (mirror.state().reachable ? 1 : 0));
  gauge('azekura_mirror_last_answer_seconds', 'When the cluster answered last, since the epoch', () =>
    seconds(mirror.state().lastAnswerMs),
  );
  gauge('azekura_mirror_last_sync_seconds', 'When both sides last said the same, since the epoch', () =>
    seconds(mirror.state().lastSyncMs),
  );
  gauge(
    'azekura_mirror_kept_objects',
    'Objects that are kept though the cluster does not know them',
    () => mirror.state().kept.length,
  );
  gauge(
    'azekura_mirror_conflicts',
    'Objects under whose name the cluster has something else',
    () => mirror.state().conflicts.length,
  );
}

/** What is not well between node and cluster, for the Node object. */
export function mirrorCauses(mirror: Mirror, nodeName: string, startedAtMs: number, nowMs: number): readonly Cause[] {
  const { kept, conflicts, lastAnswerMs } = mirror.state();
  const causes: Cause[] = [];
  const heardMs = lastAnswerMs ?? startedAtMs;
  if (nowMs - heardMs > silenceMs)
    causes.push(makeCause('ClusterUnreachable', { node: nodeName, since: new Date(heardMs).toISOString() }));
  const told = (names: readonly string[]) => ({ node: nodeName, count: String(names.length), objects: someOf(names) });
  if (kept.length > 0) causes.push(makeCause('UnknownToCluster', told(kept)));
  if (conflicts.length > 0) causes.push(makeCause('NameTakenInCluster', told(conflicts)));
  return causes;
}
