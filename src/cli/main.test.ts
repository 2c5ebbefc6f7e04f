import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fakeTerminal, noRoles, volumeLike } from './fakes.ts';
import { groups } from './groups.ts';
import { runCli } from './main.ts';

let folder: string;
let daemon: Server;
const requests: { method: string | undefined; url: string | undefined; body: string }[] = [];

/** A daemon that knows volume db, and answers every change with it. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'azekura-cli-'));
  daemon = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      requests.push({ method: request.method, url: request.url, body });
      const missing = request.url?.includes('missing');
      const path = request.url?.split('?')[0] ?? '';
      const list = /\/volumes$/.test(path) && request.method === 'GET';
      const failure = {
        kind: 'Status',
        reason: 'NotFound',
        message: 'volume "missing" does not exist',
        next: 'look at `azekura volume list`',
      };
      const answer = missing
        ? failure
        : list
          ? { kind: 'VolumeList', metadata: {}, items: [volumeLike('db', { phase: 'Ready' })] }
          : path.includes('/volumes')
            ? volumeLike('db')
            : { kind: 'List', metadata: {}, items: [] };
      response.writeHead(missing ? 404 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => daemon.listen(join(folder, 'azekura.sock'), resolve));
});

afterAll(async () => {
  daemon.close();
  await rm(folder, { recursive: true, force: true });
});

async function run(...args: string[]) {
  const { terminal, printed } = fakeTerminal();
  const code = await runCli(args, {
    roles: noRoles,
    terminal,
    env: { AZEKURA_DATA_DIR: folder },
    nowMs: () => Date.parse('2026-01-01T01:00:00Z'),
  });
  return { code, ...printed };
}

describe('a command line that is wrong', () => {
  it.each([
    ['an unknown command', ['volum'], 2, /unknown command 'volum'.*volume/],
    ['an unknown verb', ['volume', 'crate', 'db'], 2, /unknown command 'crate'/],
    ['an unknown option', ['volume', 'list', '--colour'], 2, /unknown option '--colour'/],
    ['a missing argument', ['volume', 'show'], 2, /missing required argument 'name'/],
    ['one argument too many', ['volume', 'show', 'a', 'b'], 2, /too many arguments/],
    ['an unknown format', ['volume', 'list', '-o', 'xml'], 2, /"xml" is not one of table, wide, json, yaml, name/],
    ['no size', ['volume', 'create', 'db'], 2, /needs --size/],
    ['size ten', ['volume', 'create', 'db', '--size', 'ten'], 2, /"ten" is not a size/],
    ['size 0', ['volume', 'create', 'db', '--size', '0'], 2, /must be greater than zero/],
    ['size -1', ['volume', 'create', 'db', '--size', '-1'], 2, /must be greater than zero/],
    ['size 2^63', ['volume', 'create', 'db', '--size', '9223372036854775808'], 2, /too large/],
    ['an empty name', ['volume', 'create', '', '--size', '1Gi'], 2, /must not be empty/],
    ['a name of 64 characters', ['volume', 'create', 'a'.repeat(64), '--size', '1Gi'], 2, /at most 63/],
    ['a name of 129 bytes', ['volume', 'show', 'a'.repeat(129)], 2, /at most 63/],
    ['a name with dots', ['volume', 'show', '..'], 2, /must consist of/],
    ['a name with a slash', ['volume', 'show', 'a/b'], 2, /must consist of/],
    ['a name with shell characters', ['volume', 'show', '$(reboot)'], 2, /must consist of/],
    ['a name in unicode', ['volume', 'show', '校倉'], 2, /must consist of/],
    ['two sources', ['volume', 'create', 'db', '--from-snapshot', 'a', '--from-volume', 'b'], 2, /exclude each other/],
    ['a snapshot without a name', ['snapshot', 'create', 'db'], 2, /needs the name of a volume and a name of its own/],
    ['a duration in words', ['volume', 'list', '--timeout', 'soon'], 2, /--timeout "soon" is not a duration/],
    [
      'a server without a token',
      ['volume', 'list', '--server', 'http://localhost:1'],
      2,
      /--server needs --token-file/,
    ],
    ['a server that is no URL', ['volume', 'list', '--server', 'here', '--token-file', '/x'], 2, /is not a URL/],
    ['an unknown kind', ['why', 'tree/oak'], 2, /"tree" is not a kind of object/],
    ['a label without a value', ['volume', 'label', 'db', 'x'], 2, /not of the form key=value/],
  ] as const)('%s: one sentence, a next step where there is one, exit code %s', async (_name, args, exit, sentence) => {
    const before = requests.length;
    const { code, err, out } = await run(...args);
    expect(err).toMatch(sentence);
    expect(err).toMatch(/^Error: [^\n]+\n(Next: [^\n]+\n)?$/);
    expect(out).toBe('');
    expect(code).toBe(exit);
    expect(requests.length).toBe(before);
  });

  it('shows the help of a group, and fails, when no verb is named', async () => {
    const { code, err } = await run('volume');
    expect(code).toBe(2);
    expect(err).toContain('Usage: azekura volume');
  });
});

describe('errors', () => {
  it('of the daemon come with its code, sentence and next step', async () => {
    const { code, err, out } = await run('volume', 'show', 'missing');
    expect(code).toBe(3);
    expect(err).toBe('Error: volume "missing" does not exist.\nNext: look at `azekura volume list`.\n');
    expect(out).toBe('');
  });

  it('are an object on standard output with -o json and -o yaml', async () => {
    const json = await run('volume', 'show', 'missing', '-o', 'json');
    expect(JSON.parse(json.out)).toMatchObject({
      apiVersion: 'azekura.dev/v1',
      kind: 'Status',
      status: 'Failure',
      reason: 'NotFound',
      exitCode: 3,
    });
    const { parse } = await import('yaml');
    expect(parse((await run('-o', 'yaml', 'volume', 'show', 'missing')).out)).toMatchObject({
      reason: 'NotFound',
      exitCode: 3,
    });
  });

  it('say how to start a daemon that does not run', async () => {
    const { code, err } = await run('--data-dir', '/nonexistent', 'volume', 'list');
    expect(code).toBe(11);
    expect(err).toContain('no Azekura daemon answers at /nonexistent/azekura.sock');
    expect(err).toContain('azekura up');
  });
});

describe('output', () => {
  it('is a table unless told otherwise', async () => {
    const { out } = await run('volume', 'list');
    expect(out.split('\n')[0]).toMatch(/^NAME +PHASE +SIZE/);
    expect(out.split('\n')[1]).toMatch(/^db +Ready +1Gi .* 60m$/);
  });

  it('is a List with -o json, and words with -o name', async () => {
    expect(JSON.parse((await run('volume', 'list', '-o', 'json')).out)).toMatchObject({
      apiVersion: 'v1',
      kind: 'List',
      items: [{ kind: 'Volume' }],
    });
    expect((await run('-oname', 'volume', 'list')).out).toBe('volume/db\n');
  });

  it('of --version is the version alone', async () => {
    expect(await run('--version')).toEqual({ code: 0, out: '9.9.9\n', err: '' });
  });
});

describe('requests', () => {
  it('carry what was typed, in bytes', async () => {
    await run('volume', 'create', 'db', '--size', '10Gi', '--thick', '--label', 'app=shop', '--no-wait');
    const { method, url, body } = requests.at(-1) ?? { body: '' };
    expect([method, url]).toEqual(['POST', '/apis/azekura.dev/v1/volumes']);
    expect(JSON.parse(body)).toEqual({
      kind: 'Volume',
      metadata: { name: 'db', labels: { app: 'shop' } },
      spec: { sizeBytes: 10 * 2 ** 30, provisioning: 'thick' },
    });
  });

  it('of a dry run say so', async () => {
    await run('volume', 'delete', 'db', '--dry-run');
    expect(requests.at(-1)?.url).toBe('/apis/azekura.dev/v1/volumes/db?dryRun=true');
  });
});

describe('help', () => {
  it('every verb has an example that begins with its own words', async () => {
    const without: string[] = [];
    for (const group of groups) {
      const { out } = await run(group.name, '--help');
      const verbs = [...out.matchAll(/^ {2}([a-z][a-z-]*)(?:\|[a-z]+)? .*[<[].*$/gm)]
        .map((match) => match[1] ?? '')
        .filter((verb) => verb !== 'help');
      const lines =
        out.includes('Commands:') && group.name !== 'completion'
          ? await Promise.all(
              verbs.map(
                async (verb) => [`${group.name} ${verb}`, (await run(group.name, verb, '--help')).out] as const,
              ),
            )
          : [[group.name, out] as const];
      for (const [words, help] of lines) if (!help.includes(`$ azekura ${words}`)) without.push(words);
    }
    expect(without).toEqual([]);
  });
});

describe('completion', () => {
  async function words(...typed: string[]) {
    return (await run('completion', 'words', '--', ...typed)).out.split('\n').filter((word) => word !== '');
  }

  it('knows groups, verbs, options, their values and names of objects', async () => {
    expect(await words('sna')).toEqual(['snapshot']);
    expect(await words('volume', 'cre')).toEqual(['create']);
    expect(await words('volume', 'create', 'x', '--thi')).toEqual(['--thick']);
    expect(await words('volume', 'list', '-o', 'y')).toEqual(['yaml']);
    expect(await words('volume', 'show', '')).toEqual(['db']);
    expect(await words('-o', 'json', 'volume', 'delete', 'd')).toEqual(['db']);
    expect(await words('volume', 'create', 'd')).toEqual([]);
    expect(await words('completion', '')).toEqual(['bash', 'fish', 'zsh']);
  });

  it.each(['bash', 'zsh', 'fish'])('has a script for %s', async (shell) => {
    const { code, out } = await run('completion', shell);
    expect(code).toBe(0);
    expect(out).toContain('azekura completion words --');
  });

  it('completes without a daemon too', async () => {
    expect((await run('--data-dir', '/nonexistent', 'completion', 'words', '--', 'volume', 'show', '')).out).toBe('');
  });
});
