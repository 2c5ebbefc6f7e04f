import type { Roles } from '../cli/context.ts';
import { runCli } from '../cli/main.ts';
import { processTerminal } from './terminal.ts';
import { readVersion } from './version.ts';

/** Roles are loaded when they are asked for: most command lines are one HTTP request. */
const roles: Roles = {
  up: async (options) => (await import('./up.ts')).runUp(options),
  agent: async (options) => (await import('./agent.ts')).runAgent(options),
  controller: async (options) => (await import('./controller.ts')).runController(options),
  uninstall: async (options, terminal) => (await import('./uninstall.ts')).runUninstall(options, terminal),
  rescueHost: async () => (await import('./rescue-host.ts')).openRescueHost(),
  get version() {
    return readVersion();
  },
};

// A reader that goes away early (`azekura volume list | head -1`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});
process.exitCode = await runCli(process.argv.slice(2), {
  roles,
  terminal: processTerminal(),
  env: process.env,
  nowMs: Date.now,
});
