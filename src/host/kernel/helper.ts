import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { type KernelReply, type KernelRequest, LineReader } from './protocol.ts';

const stderrTailBytes = 2_000;

/** What a helper process tells its owner. */
export interface HelperEvents {
  /** It can take its first request. */
  ready(helper: Helper): void;
  replied(helper: Helper, reply: KernelReply): void;
  /** Its process is gone, not by abandon(). `problem` says why, in words. */
  gone(helper: Helper, problem: string): void;
}

/** One helper process, seen from the daemon. It does not keep the daemon alive, except while it is at work. */
export class Helper {
  readonly pid: number;
  /** When it became idle, milliseconds since the epoch; kept by the pool. */
  idleSinceMs = 0;
  readonly #child: ChildProcess;
  readonly #stdin: Socket;
  readonly #stdout: Socket;
  #started = false;
  #gone = false;
  #abandoned: (() => void) | undefined;

  constructor(argv: readonly [string, ...string[]], events: HelperEvents) {
    const [command, ...rest] = argv;
    const child = spawn(command, [...rest, String(process.pid)], {
      // Of its own session, so that Ctrl-C in the daemon's terminal does not end a call half-way.
      detached: true,
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
        HOME: '/',
        LC_ALL: 'C',
        UV_THREADPOOL_SIZE: '1',
      },
    });
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.#stdin = child.stdin as Socket;
    this.#stdout = child.stdout as Socket;
    const stderrTail = tailOf(child.stderr);
    const gone = (problem: string) => {
      if (this.#gone) return;
      this.#gone = true;
      this.#destroyPipes();
      if (this.#abandoned) {
        this.#abandoned();
        return;
      }
      const last = stderrTail().trim().split('\n').at(-1);
      events.gone(this, last ? `${problem}: ${last}` : problem);
    };
    child.on('error', (error) => gone(error.message));
    child.on('exit', (code, signal) => gone(signal ? `it was ended by ${signal}` : `it exited with code ${code}`));
    // EPIPE: its exit event tells more.
    this.#stdin.on('error', () => {});
    const reader = new LineReader();
    this.#stdout.on('data', (chunk: Buffer) => {
      for (const line of reader.push(chunk)) {
        if (this.#started) events.replied(this, JSON.parse(line) as KernelReply);
        else {
          this.#started = true;
          events.ready(this);
        }
      }
    });
    child.unref();
    this.#stdin.unref();
    (child.stderr as unknown as Socket).unref();
  }

  /** Sends the next request: only when it is idle. */
  send(request: KernelRequest): void {
    this.#stdout.ref();
    this.#stdin.write(`${JSON.stringify(request)}\n`);
  }

  /** Lets the daemon end while this helper is idle. */
  rest(): void {
    this.#stdout.unref();
  }

  /** Lets it end by itself, after the call it is at. */
  end(): void {
    this.#stdin.end();
    this.#stdout.unref();
  }

  /** Kills it and forgets its pipes. The call in which it hangs decides when it dies: `whenGone` may come much later. */
  abandon(whenGone: () => void = () => {}): void {
    this.#abandoned = whenGone;
    this.#child.kill('SIGKILL');
    this.#destroyPipes();
  }

  #destroyPipes(): void {
    this.#stdin.destroy();
    this.#stdout.destroy();
    this.#child.stderr?.destroy();
  }
}

function tailOf(stream: Readable | null): () => string {
  let tail = '';
  stream?.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.toString('utf8')).slice(-stderrTailBytes);
  });
  return () => tail;
}
