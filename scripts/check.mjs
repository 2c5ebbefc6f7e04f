// `npm run check`: everything that needs no root and no kernel. Stages run one after the other; the first failure ends it.
import { requireNode, requireNodeModules, run } from './lib/environment.mjs';
import { stages } from './lib/stages.mjs';

requireNode();
requireNodeModules();
for (const stage of stages) {
  console.log(`— ${stage.name}`);
  if (run('npx', ['--no-install', ...stage.command]) !== 0) {
    console.error(`Error: ${stage.name} failed`);
    process.exit(1);
  }
}
console.log('— unit tests');
process.exit(run('npx', ['--no-install', 'vitest', 'run', '--project', 'unit']));
