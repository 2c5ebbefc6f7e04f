/** Pods that write numbers to volumes, each durable before it is acknowledged elsewhere: what must never be lost. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { until } from '../../lab/kubernetes/exec.ts';
import { azekuraImage } from '../../lab/kubernetes/image/azekura.ts';
import type { Space } from './kit.ts';

/** A class of volumes that leave nothing when they are deleted. */
export function classWithoutBin(name: string, more: object = {}): object {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name },
    provisioner: 'csi.azekura.dev',
    volumeBindingMode: 'WaitForFirstConsumer',
    allowVolumeExpansion: true,
    parameters: { recycle: '0s' },
    ...more,
  };
}

// Its log must hold 1, 2, 3 … in this order; what it has acknowledged lies outside of the volume.
const program = `
const fs = require('fs');
const acks = fs.openSync('/acks/' + process.env.HOSTNAME, 'a');
try {
  const text = fs.existsSync('/data/log') ? fs.readFileSync('/data/log', 'utf8') : '';
  const whole = text.slice(0, text.lastIndexOf('\\n') + 1);
  if (whole.length < text.length) fs.truncateSync('/data/log', whole.length);
  const lines = whole.split('\\n').slice(0, -1);
  if (lines.some((line, i) => line !== String(i + 1))) fs.writeSync(acks, 'error gap\\n');
  const log = fs.openSync('/data/log', 'a');
  let n = lines.length;
  setInterval(() => {
    try {
      n += 1;
      fs.writeSync(log, n + '\\n');
      fs.fdatasyncSync(log);
      fs.writeSync(acks, n + '\\n');
    } catch (error) {
      fs.writeSync(acks, 'error ' + error.code + '\\n');
      process.exit(1);
    }
  }, 20);
} catch (error) {
  fs.writeSync(acks, 'error ' + error.code + '\\n');
}`;

/** A StatefulSet with one writer on each node. */
export class Writers {
  readonly #space: Space;
  readonly #name: string;
  readonly #folder: string;
  readonly #count: number;

  private constructor(space: Space, name: string, count: number) {
    this.#space = space;
    this.#name = name;
    this.#count = count;
    // On the host's file system, which every node sees.
    this.#folder = path.join(space.cluster.folder, 'acks', space.name);
  }

  /** @param className of the volumes */
  static async start(space: Space, className: string, count = 3): Promise<Writers> {
    const writers = new Writers(space, 'writer', count);
    mkdirSync(writers.#folder, { recursive: true });
    await space.apply(writers.#set(className));
    await space.wait(`jsonpath={.status.readyReplicas}=${count}`, 'statefulset/writer');
    await writers.progress();
    return writers;
  }

  get pods(): readonly string[] {
    return Array.from({ length: this.#count }, (_, i) => `${this.#name}-${i}`);
  }

  /** The last number that each has acknowledged. */
  acknowledged(): number[] {
    return this.pods.map((pod) => Number(this.#acks(pod).at(-1) ?? 0));
  }

  /** What went wrong with reading or writing, in all this time. */
  errors(): string[] {
    return this.pods.flatMap((pod) => this.#acks(pod).filter((line) => line.startsWith('error')));
  }

  /** Waits until each of them has written more. */
  async progress(timeoutMs = 120_000): Promise<void> {
    const before = this.acknowledged();
    await until(`the writers go on after ${before.join(', ')}`, timeoutMs, () =>
      this.acknowledged().every((now, i) => now > (before[i] ?? 0)),
    );
  }

  /** How often their containers have been started again. */
  async restarts(): Promise<number> {
    const counts = '-o=jsonpath={.items[*].status.containerStatuses[*].restartCount}';
    const text = await this.#space.kubectl('get', 'pods', '-l', `app=${this.#name}`, counts);
    return text.split(' ').reduce((sum, count) => sum + Number(count), 0);
  }

  /** Acknowledged numbers that the volumes do not hold; and whatever else is not as it was written. */
  async lost(): Promise<string[]> {
    const problems: string[] = [];
    for (const pod of this.pods) {
      const acknowledged = Number(this.#acks(pod).at(-1));
      const log = await this.#space.execSoon(`pod/${pod}`, 'cat', '/data/log');
      const numbers = log.split('\n').slice(0, -1);
      const wrong = numbers.findIndex((line, i) => line !== String(i + 1));
      if (wrong >= 0) problems.push(`${pod}: line ${wrong + 1} is ${numbers[wrong]}`);
      if (numbers.length < acknowledged) problems.push(`${pod}: ${acknowledged} acknowledged, ${numbers.length} there`);
    }
    return problems;
  }

  #acks(pod: string): string[] {
    const file = path.join(this.#folder, pod);
    return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  }

  #set(storageClassName: string): object {
    const container = {
      name: 'writer',
      image: `${azekuraImage.repository}:${azekuraImage.tag}`,
      imagePullPolicy: 'Never',
      command: ['/usr/local/bin/node', '-e', program],
      volumeMounts: [
        { name: 'data', mountPath: '/data' },
        { name: 'acks', mountPath: '/acks' },
      ],
    };
    const spread = {
      maxSkew: 1,
      topologyKey: 'kubernetes.io/hostname',
      whenUnsatisfiable: 'DoNotSchedule',
      labelSelector: { matchLabels: { app: this.#name } },
    };
    return {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: this.#name },
      spec: {
        serviceName: this.#name,
        replicas: this.#count,
        podManagementPolicy: 'Parallel',
        selector: { matchLabels: { app: this.#name } },
        template: {
          metadata: { labels: { app: this.#name } },
          spec: {
            terminationGracePeriodSeconds: 1,
            topologySpreadConstraints: [spread],
            containers: [container],
            volumes: [{ name: 'acks', hostPath: { path: this.#folder } }],
          },
        },
        volumeClaimTemplates: [
          {
            metadata: { name: 'data' },
            spec: {
              accessModes: ['ReadWriteOnce'],
              storageClassName,
              resources: { requests: { storage: '512Mi' } },
            },
          },
        ],
      },
    };
  }
}
