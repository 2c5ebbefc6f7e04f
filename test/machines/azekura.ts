import type { RemoteProcess } from '../../lab/machines/index.ts';
import type { Machine } from '../../lab/machines/machine.ts';
import { eventually } from '../../lab/workbench.ts';

/** `azekura` in a machine, with a data dir that a power cut takes along unless it lies on a disk. */
export interface MachineAzekura {
  /** Starts `azekura up` and waits until it answers. */
  up(...options: readonly string[]): Promise<void>;
  /** Ends it, by SIGTERM or at once, and waits until it is gone. @param when a condition of the shell that is waited for before */
  down(signal: 'TERM' | 'KILL', when?: string): Promise<void>;
  /** Runs a verb; resolves with its output. @throws RemoteCommandFailed */
  run(...words: readonly string[]): Promise<string>;
  /** The sentence that a verb fails with. */
  refusal(...words: readonly string[]): Promise<string>;
  /** The answer of a verb as JSON. */
  json<T>(...words: readonly string[]): Promise<T>;
}

/** @param options.log file of the machine that gets what it says */
export function azekuraIn(
  machine: Machine,
  dataDir = '/run/azekura-state',
  options: { readonly log?: string } = {},
): MachineAzekura {
  const { log } = options;
  let running: RemoteProcess | undefined;
  const argv = (words: readonly string[]) => ['azekura', '--data-dir', dataDir, ...words];
  const run: MachineAzekura['run'] = async (...words) =>
    (await machine.exec(argv(words), { deadlineMs: 180_000 })).stdout.trim();
  const refusal: MachineAzekura['refusal'] = async (...words) => {
    const { exitCode, stderr } = await machine.run(argv(words), { deadlineMs: 180_000 });
    if (exitCode === 0) throw new Error(`azekura ${words.join(' ')} was not refused`);
    return stderr.trim();
  };
  return {
    run,
    refusal,
    async down(signal, when = 'true') {
      const ended = new Promise((resolve) => running?.once('close', resolve));
      await machine.sh(`until ${when}; do sleep 0.02; done; kill -${signal} $(pgrep -f 'u[p] --data-dir ${dataDir}')`);
      await ended;
    },
    async up(...words) {
      let last = '';
      const start = () => {
        const up = ['azekura', 'up', '--data-dir', dataDir, '--no-pool', ...words];
        const daemon = machine.start(log === undefined ? up : ['sh', '-c', 'exec "$@" >>"$0" 2>&1', log, ...up]);
        running = daemon;
        for (const output of [daemon.stdout, daemon.stderr])
          output.on('data', (data: Buffer) => (last = (last + data.toString()).slice(-2_000)));
        return daemon;
      };
      let daemon = start();
      let restarts = 1;
      // It answers before it takes work.
      await eventually(
        async () => {
          const answer = await refusal('pool', 'remove', 'none', '--dry-run');
          if (/none/.test(answer)) return;
          // As its unit has it: Restart=always. Seen twice on a busy machine: killed by a signal before it said a word.
          if (daemon.exitCode !== null && restarts-- > 0) daemon = start();
          const state = daemon.exitCode === null ? 'runs' : `ended with ${daemon.exitCode}`;
          const kernel = await machine.sh(`dmesg | tail -15; free -m; ${log === undefined ? '' : `tail -5 ${log}`}`);
          throw new Error(`azekura ${state}, and answers ${answer}; its last words: ${last}\n${kernel}`);
        },
        90_000,
        500,
      );
    },
    json: async (...words) => JSON.parse(await run(...words, '-o', 'json')),
  };
}
