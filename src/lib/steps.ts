/**
 * Named steps of an operation, shared by engines and agent. The names are stable: tests enumerate them, kill the
 * process at each, and Tasks show them.
 */
export interface Steps {
  /** Runs one named step, for example "file.create.publish". */
  run<T>(name: string, work: () => Promise<T>): Promise<T>;
  /** Progress of the running operation. */
  progress(doneBytes: number, totalBytes: number): void;
}

/** What an operation's steps report to. */
export interface StepListener {
  started?(name: string): void;
  ended?(name: string, error?: unknown): void;
  progress?(doneBytes: number, totalBytes: number): void;
}

/** Called before ("<name>:before") and after ("<name>:after") each step; a test's implementation kills the process. */
export type CrashPoint = (point: string) => void;

/** Steps that report to a listener and pass the crash points. */
export function makeSteps(listener: StepListener = {}, crashPoint: CrashPoint = () => {}): Steps {
  return {
    async run(name, work) {
      crashPoint(`${name}:before`);
      listener.started?.(name);
      try {
        const result = await work();
        listener.ended?.(name);
        crashPoint(`${name}:after`);
        return result;
      } catch (error) {
        listener.ended?.(name, error);
        throw error;
      }
    },
    progress: (doneBytes, totalBytes) => listener.progress?.(doneBytes, totalBytes),
  };
}

/**
 * The crash point of a process, chosen by its environment and meant for tests only:
 * AZEKURA_CRASH_AT=<point>[#n] kills the process with SIGKILL when the point is reached the n-th time;
 * AZEKURA_CRASH_LOG=<file> appends each point that is reached.
 */
export function crashPointFromEnv(
  env: Readonly<Record<string, string | undefined>>,
  effects: { kill(): void; append(file: string, line: string): void },
): CrashPoint {
  const [wanted, count] = (env.AZEKURA_CRASH_AT ?? '').split('#');
  const log = env.AZEKURA_CRASH_LOG;
  if (!wanted && !log) return () => {};
  let left = Number(count ?? 1);
  return (point) => {
    if (log) effects.append(log, `${point}\n`);
    if (point === wanted && --left === 0) effects.kill();
  };
}
