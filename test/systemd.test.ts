import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../lab/daemon.ts';
import { Systemd, whyNoSystemd } from '../lab/systemd/index.ts';
import { eventually, run } from '../lab/workbench.ts';

/** The unit of deploy/ under systemd itself, as the first process of a namespace. */
describe.skipIf(whyNoSystemd)(`the unit under systemd${whyNoSystemd ? ` (skipped: ${whyNoSystemd})` : ''}`, () => {
  let systemd: Systemd;
  const dataDir = '/var/lib/azekura-test';
  const azekura = (...args: string[]) => systemd.ok('azekura', '--data-dir', dataDir, ...args);
  const mainPid = () => systemd.property('azekura', 'MainPID');
  const word = () => systemd.ok('cat', '/mnt/db/word');

  beforeAll(async () => {
    ensureBuilt();
    systemd = await Systemd.start({
      unit: 'deploy/azekura.service',
      settings: [`AZEKURA_DATA_DIR=${dataDir}`],
    });
    await eventually(async () => expect(systemd.property('azekura', 'ActiveState')).toBe('active'), 60_000);
  }, 90_000);
  afterAll(async () => {
    systemd.run('systemctl', 'stop', 'azekura');
    systemd.run('umount', '/mnt/db');
    systemd.run('azekura', '--data-dir', dataDir, 'uninstall', '--delete-data', '--yes');
    await systemd.end();
    const attached = () => run('losetup', '--noheadings', '--output', 'BACK-FILE');
    await eventually(() => expect(attached()).not.toContain(`${dataDir}/`), 30_000);
  });

  it('counts as started when it serves, in the name of azekura', () => {
    expect(azekura('status')).toContain('trial');
    expect(systemd.property('azekura', 'Result')).toBe('success');
    expect(systemd.property('azekura', 'NRestarts')).toBe('0');
    expect(systemd.ok('journalctl', '--no-pager', '--output=cat', '--identifier=azekura')).toContain('is up on node');
  });

  it('keeps what is mounted through a restart, and serves again when the restart is over', () => {
    azekura('volume', 'create', 'db', '--size', '64Mi', '--class', 'local-ext4');
    azekura('volume', 'mount', 'db', '/mnt/db');
    systemd.ok('sh', '-c', 'echo written > /mnt/db/word');
    const before = mainPid();
    systemd.ok('systemctl', 'restart', 'azekura');
    expect(mainPid()).not.toBe(before);
    expect(azekura('volume', 'list', '-o', 'name')).toBe('volume/db');
    expect(word()).toBe('written');
  });

  it('is started again when it dies', async () => {
    systemd.ok('systemctl', 'kill', '--kill-who=main', '--signal=KILL', 'azekura');
    await eventually(async () => {
      expect(systemd.property('azekura', 'NRestarts')).toBe('1');
      expect(systemd.property('azekura', 'ActiveState')).toBe('active');
    }, 60_000);
    expect(word()).toBe('written');
    azekura('snapshot', 'create', 'db', 'after');
  });

  it('stops in time and leaves volumes mounted, and helpers end with it', async () => {
    systemd.ok('systemctl', 'stop', 'azekura');
    expect(systemd.property('azekura', 'Result')).toBe('success');
    expect(systemd.property('azekura', 'ExecMainStatus')).toBe('0');
    expect(word()).toBe('written');
    await eventually(async () => expect(systemd.run('pgrep', '-f', 'kernel-worker').out).toBe(''), 20_000);
    systemd.ok('systemctl', 'start', 'azekura');
    expect(azekura('volume', 'show', 'db', '-o', 'name')).toBe('volume/db');
    azekura('volume', 'umount', 'db');
  });
});
