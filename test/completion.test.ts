import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt, launcher } from '../lab/daemon.ts';
import { execute } from './cli-bench.ts';

const installed = (program: string) =>
  ['/bin', '/usr/bin', '/usr/local/bin'].some((folder) => existsSync(join(folder, program)));

/** The completion scripts in the shells that they are for, driven through a terminal where the shell needs one. */
describe('completion in a real shell', () => {
  let folder: string;
  let env: NodeJS.ProcessEnv;

  beforeAll(async () => {
    ensureBuilt();
    folder = mkdtempSync(join(tmpdir(), 'azekura-shell-'));
    writeFileSync(join(folder, 'azekura'), `#!/bin/sh\nexec '${process.execPath}' '${launcher}' "$@"\n`);
    chmodSync(join(folder, 'azekura'), 0o755);
    // No daemon answers there: names of objects are left out, words are not.
    env = {
      ...process.env,
      PATH: `${folder}:${process.env.PATH}`,
      AZEKURA_DATA_DIR: folder,
      HOME: folder,
      TERM: 'dumb',
    };
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { code, out } = await execute(join(folder, 'azekura'), ['completion', shell], env);
      expect(code).toBe(0);
      writeFileSync(join(folder, `script.${shell}`), out);
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Types into an interactive shell, and waits for a text to appear. @returns what was on the terminal */
  async function type(command: string, steps: readonly (readonly [keys: string, until: RegExp])[]): Promise<string> {
    const child = spawn('script', ['-qfec', command, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'ignore'] });
    let screen = '';
    child.stdout.on('data', (chunk) => {
      screen += chunk;
    });
    try {
      for (const [keys, until] of steps) {
        screen = '';
        child.stdin.write(keys);
        await expect.poll(() => screen, { timeout: 30_000 }).toMatch(until);
      }
      return screen;
    } finally {
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.stdin.write('\u0003');
      child.stdin.end('exit\n');
      child.kill();
      await ended;
    }
  }

  it.skipIf(!installed('script') || !installed('bash'))('bash', async () => {
    await type('bash --noprofile --norc -i', [
      [`source ${folder}/script.bash; PS1=; echo re''ady\n`, /ready/],
      ['azekura snaps\t', /azekura snapshot /],
      ['cr\t', /create /],
      ['--no-fr\t', /--no-freeze/],
    ]);
  });

  const noZsh = installed('zsh') ? '' : ' (skipped: zsh is not installed)';
  it.skipIf(noZsh !== '' || !installed('script'))(`zsh${noZsh}`, async () => {
    await type('zsh -f -i', [
      [`autoload -U compinit; compinit -u -D; source ${folder}/script.zsh; PS1=; echo re''ady\n`, /ready/],
      ['azekura snaps\t', /hot/],
      ['cr\t', /eate/],
      ['--no-fr\t', /eeze/],
    ]);
  });

  const noFish = installed('fish') ? '' : ' (skipped: fish is not installed)';
  it.skipIf(noFish !== '')(`fish${noFish}`, async () => {
    const ask = async (line: string) =>
      (await execute('fish', ['-N', '-c', `source ${folder}/script.fish; complete -C '${line}'`], env)).out
        .split('\n')
        .map((text) => text.split('\t')[0]);
    expect(await ask('azekura snaps')).toContain('snapshot');
    expect(await ask('azekura snapshot cr')).toContain('create');
    expect(await ask('azekura snapshot create --no-fr')).toContain('--no-freeze');
  });

  it('asks for nothing that would harm: a word is never run', () => {
    for (const shell of ['bash', 'zsh', 'fish'])
      expect(readFileSync(join(folder, `script.${shell}`), 'utf8')).toContain('completion words --');
  });
});
