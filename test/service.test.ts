import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt, launcher } from '../lab/daemon.ts';
import { execute, type Outcome, whyNot } from './cli-bench.ts';

const unitFile = 'deploy/azekura.service';
const unit = readFileSync(unitFile, 'utf8');
/** All values of a key, without those of comments. */
const valuesOf = (key: string) =>
  unit.split('\n').flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));

const noAnalyze = existsSync('/usr/bin/systemd-analyze') ? '' : ' (skipped: systemd-analyze is not installed)';

describe('the systemd unit', () => {
  it.skipIf(noAnalyze !== '')(`is one that systemd takes${noAnalyze}`, async () => {
    const { code, err } = await execute('systemd-analyze', ['verify', '--man=no', unitFile]);
    expect(err.split('\n').filter((line) => line.includes('azekura.service'))).toEqual([]);
    expect(code).toBe(0);
  });
});

/** Where no systemd runs, its part is played: the unit's command, environment, capabilities, privileges and signals. */
describe.skipIf(whyNot)(`the service as the unit starts it${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  let folder: string;
  let service: ChildProcess;
  let log = '';
  const env = (): NodeJS.ProcessEnv => ({
    ...Object.fromEntries(valuesOf('Environment').map((pair) => pair.split(/=(.*)/s).slice(0, 2))),
    PATH: `${folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    AZEKURA_DATA_DIR: join(folder, 'data'),
  });
  const azekura = (...args: string[]): Promise<Outcome> => execute(join(folder, 'azekura'), args, env());

  beforeAll(async () => {
    ensureBuilt();
    folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : '/tmp', 'azekura-service-'));
    mkdirSync(join(folder, 'mnt'));
    writeFileSync(join(folder, 'azekura'), `#!/bin/sh\nexec '${process.execPath}' '${launcher}' "$@"\n`);
    chmodSync(join(folder, 'azekura'), 0o755);
    const [program = '', ...args] = (valuesOf('ExecStart')[0] ?? '').split(' ');
    service = spawn(
      'setpriv',
      ['--no-new-privs', `--bounding-set=${await capabilitiesToDrop()}`, program, ...args, '--pool-size', '600Mi'],
      { env: env(), stdio: ['ignore', 'pipe', 'pipe'] },
    );
    await new Promise<void>((resolve, reject) => {
      for (const stream of [service.stdout, service.stderr])
        stream?.on('data', (chunk) => {
          log += chunk;
          if (log.includes('is up on node')) resolve();
        });
      service.once('close', (code) => reject(new Error(`the service ended with ${code}: ${log}`)));
    });
  }, 90_000);
  afterAll(async () => {
    service.kill('SIGKILL');
    await azekura('uninstall', '--delete-data', '--yes');
    rmSync(folder, { recursive: true, force: true });
  });

  /** What this process may and the unit does not name. */
  async function capabilitiesToDrop(): Promise<string> {
    const { out } = await execute('setpriv', ['--dump']);
    const held = /Capability bounding set: (\S+)/.exec(out)?.[1]?.split(',') ?? [];
    const kept = (valuesOf('CapabilityBoundingSet')[0] ?? '').split(' ').map((name) => name.slice(4).toLowerCase());
    return held
      .filter((name) => !kept.includes(name))
      .map((name) => `-${name}`)
      .join(',');
  }

  it('serves with the capabilities that the unit leaves it', async () => {
    const path = join(folder, 'mnt', 'db');
    for (const command of [
      'volume create db --size 32Mi --class local-ext4',
      `volume mount db ${path}`,
      'snapshot create db before',
      'volume create copy --from-snapshot before --class local-ext4',
      'volume delete copy',
    ])
      expect(await azekura(...command.split(' '))).toMatchObject({ code: 0, err: '' });
    const status = readFileSync(`/proc/${service.pid}/status`, 'utf8');
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).not.toMatch(/^CapBnd:\t0*1ffffffffff$/m);
  });

  it('ends by the signal of the unit, in time, and what is mounted stays mounted', async () => {
    const path = join(folder, 'mnt', 'db');
    writeFileSync(join(path, 'word'), 'written');
    const ended = new Promise<number | null>((resolve) => service.once('close', resolve));
    service.kill((valuesOf('KillSignal')[0] ?? '') as NodeJS.Signals);
    expect(await ended).toBe(0);
    expect(readFileSync(join(path, 'word'), 'utf8')).toBe('written');
    await execute('umount', [path]);
    for (const line of log.trim().split('\n')) expect(() => JSON.parse(line) as unknown).not.toThrow();
  });
});
