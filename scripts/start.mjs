// `npm start`: from a fresh clone to a running store. Installs what lacks, builds, and runs `azekura up` in the foreground.
// Arguments go on to `azekura up`: npm start -- --data-dir DIR
import { spawn } from 'node:child_process';
import path from 'node:path';
import { fail, requireNode, requireNodeModules, requireTools, root, run, runtimeTools } from './lib/environment.mjs';

requireNode();
if (process.getuid?.() !== 0) {
  fail('Azekura must run as root: it mounts file systems and makes loop devices', 'run "sudo npm start"');
}
requireTools(runtimeTools);
requireNodeModules();
if (run(process.execPath, ['scripts/build.mjs']) !== 0) fail('the build failed', 'read its output above');

const child = spawn(process.execPath, [path.join(root, 'bin', 'azekura.mjs'), 'up', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
// npm and terminals signal the whole group or only us; either way the daemon gets its SIGTERM and we wait for its end.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
