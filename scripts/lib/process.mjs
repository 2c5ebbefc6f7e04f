// Programs that run beside each other. Plain Node without dependencies.
import { spawn } from 'node:child_process';
import { root } from './environment.mjs';

/**
 * Runs a program in the project's folder.
 *
 * @param {readonly string[]} argv
 * @param {object} [options]
 * @param {boolean} [options.holdOutput] prints what it says when it has ended, because others are printing
 * @param {NodeJS.ProcessEnv} [options.env]
 * @returns {Promise<number>} its exit code, when all that it said is printed
 */
export function start([program, ...args], { holdOutput = false, env = process.env } = {}) {
  const stdio = ['ignore', holdOutput ? 'pipe' : 'inherit', holdOutput ? 'pipe' : 'inherit'];
  const child = spawn(program, args, { cwd: root, env, stdio });
  const held = [];
  child.stdout?.on('data', (chunk) => held.push(chunk));
  child.stderr?.on('data', (chunk) => held.push(chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      for (const chunk of held) process.stdout.write(chunk);
      resolve(code ?? 1);
    });
  });
}

/**
 * Does all jobs, so many of them at a time, in their order; one that waits for something lets the others go first.
 *
 * @template {{ readonly after?: { readonly done: boolean, readonly end: Promise<unknown> } }} Job
 * @param {number} lanes
 * @param {readonly Job[]} jobs
 * @param {(job: Job) => Promise<unknown>} work
 * @param {Promise<unknown>} [other] takes a lane until it ends
 */
export async function inLanes(lanes, jobs, work, other) {
  const rest = [...jobs];
  const lane = async () => {
    while (rest.length > 0) {
      const at = rest.findIndex(({ after }) => after === undefined || after.done);
      if (at < 0) await Promise.race(rest.map(({ after }) => after?.end));
      else await work(...rest.splice(at, 1));
    }
  };
  const first = other?.then(lane) ?? lane();
  await Promise.all([first, ...Array.from({ length: lanes - 1 }, lane)]);
}

/** Something that is under way, and whether it still is. */
export function underWay(promise) {
  const state = { done: false, end: promise.finally(() => (state.done = true)) };
  return state;
}
