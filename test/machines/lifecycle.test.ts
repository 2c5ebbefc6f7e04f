import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { LabFolder, labNames } from '../../lab/machines/folder.ts';
import { startMachines } from '../../lab/machines/index.ts';
import { takeDown } from '../../lab/machines/lab.ts';
import { eventually } from '../../lab/workbench.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const name = `life-${process.pid}`;
const folder = new LabFolder(name).path;

afterEach(() => takeDown(name));

/** Processes whose command line names a lab's folder, and mounts of it: what a lab could leave behind. */
function leftovers(): readonly string[] {
  const processes = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((entry) => {
      try {
        return readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(`${folder}`);
      } catch {
        return false;
      }
    })
    .map((entry) => `process ${entry}`);
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(folder));
  return [...processes, ...mounts, ...(existsSync(folder) ? [folder] : [])];
}

function keeperOf(lab: string): number {
  return new LabFolder(lab).read().keeper?.pid ?? 0;
}

function tool(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), path.join(root, 'lab/main.ts'), ...args],
      { env: { ...process.env, LAB_NAME: name } },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

/** A program that starts a lab and then waits; resolves when its machine is up. */
async function programWithLab(): Promise<ChildProcess> {
  const library = path.join(root, 'lab/machines/index.ts');
  const code = `import { startMachines } from '${library}';
    const lab = await startMachines({ name: '${name}', disks: [{ size: '64M', kind: 'controlled' }] });
    console.log('up'); setInterval(() => lab.name, 1000);`;
  const child = spawn(
    process.execPath,
    ['--import', import.meta.resolve('tsx'), '--input-type=module', '--eval', code],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await new Promise<void>((resolve, reject) => {
    createInterface(child.stdout).once('line', () => resolve());
    child.once('exit', (code) => reject(new Error(`the program ended with ${code}`)));
  });
  return child;
}

describe('a lab', () => {
  it('leaves nothing when the program that started it is killed', async () => {
    const program = await programWithLab();
    const keeper = keeperOf(name);
    expect(leftovers().length).toBeGreaterThan(3);
    program.kill('SIGKILL');
    await eventually(() => expect(leftovers()).toEqual([]), 20_000);
    expect(existsSync(`/proc/${keeper}`)).toBe(false);
  });

  it('whose keeper was killed is removed by the next call', async () => {
    const program = await programWithLab();
    process.kill(keeperOf(name), 'SIGKILL');
    program.kill('SIGKILL');
    await eventually(() => expect(leftovers()).toEqual([folder]), 20_000);
    const status = await tool('status');
    expect(status).toMatchObject({ code: 1, stderr: expect.stringContaining('is not up') as string });
    expect(leftovers()).toEqual([]);
  });

  it('runs beside another one with the same addresses', async () => {
    await using one = await startMachines({ name, disks: ['64M'] });
    await using other = await startMachines({ disks: ['64M'] });
    expect(labNames()).toEqual(expect.arrayContaining([one.name, other.name]));
    const boot = 'cat /proc/sys/kernel/random/boot_id';
    expect(await one.machine(1).sh(boot)).not.toBe(await other.machine(1).sh(boot));
    await other.down();
    expect(await one.machine(1).sh('echo on')).toBe('on');
    await expect(startMachines({ name })).rejects.toThrow(`the lab "${name}" is up already`);
  });

  it('cannot start with a kernel that fails, and leaves nothing then', async () => {
    const start = startMachines({ name, disks: ['64M'], kernelArguments: ['init=/nowhere'] });
    await expect(start).rejects.toThrow('Kernel panic');
    expect(leftovers()).toEqual([]);
  });
});

describe('npm run lab', () => {
  it('starts machines that outlive it, drives them, and takes them down', async () => {
    expect(await tool('up', '1', '--disks', '64M', '--controlled', '64M')).toMatchObject({ code: 0 });
    expect((await tool('exec', '1', '--', 'lsblk', '-bno', 'NAME,SIZE', '/dev/ubda')).stdout).toMatch(
      /^ubda +67108864\n$/,
    );
    expect((await tool('exec', '1', 'sh', '-c', 'exit 7')).code).toBe(7);
    expect((await tool('disk', 'add', '1', '64M')).stdout).toBe('/dev/ubdb\n');
    expect((await tool('disk', 'fail', '1', 'nbd0')).code).toBe(0);
    expect((await tool('exec', '1', 'dd', 'if=/dev/nbd0', 'of=/dev/null', 'count=1', 'iflag=direct')).code).toBe(1);
    expect((await tool('power-cut', '1')).code).toBe(0);
    expect(await tool('exec', '1', 'true')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('n1 is off') as string,
    });
    const status = JSON.parse((await tool('status', '-o', 'json')).stdout) as {
      machines: { name: string; state: string; disks: { device: string }[] }[];
    };
    expect(status.machines.map(({ name: machine, state, disks }) => [machine, state, disks.length])).toEqual([
      ['n1', 'off', 3],
    ]);
    expect((await tool('boot', '1')).code).toBe(0);
    expect((await tool('down')).code).toBe(0);
    expect(leftovers()).toEqual([]);
  });

  it('leaves nothing when it is killed while it starts machines', async () => {
    const child = spawn(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), path.join(root, 'lab/main.ts'), 'up', '1'],
      { env: { ...process.env, LAB_NAME: name }, stdio: 'ignore' },
    );
    await eventually(() => expect(leftovers().some((one) => one.startsWith('process'))).toBe(true), 20_000, 10);
    await eventually(() => expect(existsSync(path.join(folder, 'n1/console.log'))).toBe(true), 20_000, 10);
    child.kill('SIGKILL');
    await eventually(() => expect(leftovers()).toEqual([]), 20_000);
  });

  it.each([
    [['up', '0'], 'from 1 to 9'],
    [['up', '1', '--disks', '5'], '"5" is no size of a disk'],
    [['up', '1', '--mem', 'much'], '"much" is no amount of memory'],
    [['boot', '1'], 'is not up'],
    [['explode'], "unknown command 'explode'"],
    [['disk', 'slow', '1', 'nbd0', 'very'], 'whole milliseconds'],
  ])('refuses %j in one sentence', async (args, sentence) => {
    const result = await tool(...args);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(sentence);
    expect(result.stderr.split('\n').filter(Boolean).at(-1)).toMatch(/^Next: /);
    expect(leftovers()).toEqual([]);
  });
});
