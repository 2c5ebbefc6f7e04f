// Compares the documents with what they describe: catalogues of errors and causes, verbs and options of the command line,
// relative links, and paths of the machine that somebody wrote on. Exits 1 with one sentence for each difference.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import type { Context } from '../src/cli/context.ts';
import { findGroup, groups } from '../src/cli/groups.ts';
import { causeCatalogue } from '../src/model/causes.ts';
import { errorCatalogue } from '../src/model/errors.ts';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const ignoredFolders = new Set(['node_modules', 'dist', '.git', 'fixtures', 'coverage', 'gen']);
const textFile = /\.(md|ts|mjs|js|json|ya?ml|service|sh|py|c)$/;

const problems: string[] = [];

function report(file: string, sentence: string): void {
  problems.push(`${file}: ${sentence}`);
}

function readDocument(file: string): string {
  const full = path.join(root, file);
  if (existsSync(full)) return readFileSync(full, 'utf8');
  report(file, 'is missing');
  return '';
}

/** The text below each heading of the level, up to the next heading of that level or a higher one. */
function sections(text: string, level: number): Map<string, string> {
  const found = new Map<string, string>();
  const heading = new RegExp(`^#{1,${level}} +(.*)$`);
  let current: string | undefined;
  for (const line of withoutCode(text)) {
    const match = heading.exec(line);
    if (match) {
      current = line.startsWith(`${'#'.repeat(level)} `) ? (match[1] ?? '').trim() : undefined;
      if (current !== undefined) found.set(current, '');
    } else if (current !== undefined) found.set(current, `${found.get(current) ?? ''}${line}\n`);
  }
  return found;
}

/** Lines, with those inside fences emptied: a comment of a shell example is no heading. */
function withoutCode(text: string): string[] {
  let inside = false;
  return text.split('\n').map((line) => {
    if (/^ *(```|~~~)/.test(line)) {
      inside = !inside;
      return '';
    }
    return inside ? '' : line;
  });
}

function compareCodes(file: string, documented: Iterable<string>, real: readonly string[], what: string): void {
  const names = new Set(documented);
  for (const code of real) if (!names.has(code)) report(file, `has no section for the ${what} ${code}`);
  for (const name of names)
    if (!real.includes(name)) report(file, `has a section "${name}", but there is no such ${what}`);
}

function checkErrors(): void {
  const file = 'docs/errors.md';
  const text = readDocument(file);
  const found = sections(text, 2);
  compareCodes(file, found.keys(), Object.keys(errorCatalogue), 'error');
  for (const [code, { http, grpc, exit }] of Object.entries(errorCatalogue)) {
    const facts = /^- HTTP (\d+), gRPC (\d+) \([A-Z_]+\), exit (\d+)$/m.exec(found.get(code) ?? '');
    const documented = facts?.slice(1).map(Number).join(' ');
    if (found.has(code) && documented !== `${http} ${grpc} ${exit}`) {
      report(file, `section ${code} must have the line "- HTTP ${http}, gRPC ${grpc} (NAME), exit ${exit}"`);
    }
    const row = `| [${code}](#${code.toLowerCase()}) | ${http} | ${grpc} | ${exit} |`;
    if (!text.includes(row)) report(file, `its table lacks the row ${row}`);
  }
}

function checkCauses(): void {
  const file = 'docs/causes.md';
  const found = sections(readDocument(file), 2);
  compareCodes(file, found.keys(), Object.keys(causeCatalogue), 'cause');
  for (const [code, { severity, message, nextStep }] of Object.entries(causeCatalogue)) {
    const section = found.get(code);
    if (section === undefined) continue;
    for (const line of [`- Severity: ${severity}`, `- Sentence: ${message}`, `- Next step: ${nextStep}`]) {
      if (!section.includes(`${line}\n`)) report(file, `section ${code} must have the line "${line}"`);
    }
    const background = section.split('\n').filter((line) => line !== '' && !line.startsWith('- '));
    if (background.length === 0) report(file, `section ${code} says nothing of the background`);
  }
}

/** All commands that do something, with their full names. Registering needs no daemon: a command asks for it when it runs. */
async function commandsOfCli(): Promise<Map<string, Command>> {
  const found = new Map<string, Command>();
  for (const group of groups) {
    const command = new Command(group.name);
    (await group.load()).register(command, {} as Context);
    collectCommands(command, group.name, found);
  }
  return found;
}

function collectCommands(command: Command, name: string, found: Map<string, Command>): void {
  const children = command
    .createHelp()
    .visibleCommands(command)
    .filter((child) => child.name() !== 'help');
  if (children.length === 0) found.set(name, command);
  for (const child of children) collectCommands(child, `${name} ${child.name()}`, found);
}

async function checkCommands(): Promise<Map<string, Command>> {
  const file = 'docs/cli.md';
  const found = sections(readDocument(file), 3);
  const documented = new Map(
    [...found].map(([title, text]) => [title.replaceAll('`', '').replace(/^azekura /, ''), text]),
  );
  const commands = await commandsOfCli();
  compareCodes(file, documented.keys(), [...commands.keys()], 'command');
  for (const [name, command] of commands) {
    const section = documented.get(name);
    for (const { long } of command.options) {
      if (section !== undefined && long && !new RegExp(`\`(?:-\\w, )?${long}\\b`).test(section))
        report(file, `section ${name} does not name the option ${long}`);
    }
    for (const [option] of (section ?? '').matchAll(/(?<=^\| `(?:-\w, )?)--[\w-]+/gm)) {
      if (!command.options.some(({ long }) => long === option))
        report(file, `section ${name} names the option ${option}, which is not there`);
    }
  }
  return commands;
}

/** Every example in a fence must name a command that is there, with options that it has. */
function checkExamples(full: string, commands: ReadonlyMap<string, Command>, globals: ReadonlySet<string>): void {
  const file = path.relative(root, full);
  let inside = false;
  for (const line of readFileSync(full, 'utf8').split('\n')) {
    if (/^ *```/.test(line)) inside = !inside;
    const example = /^ *(?:npx )?azekura +([^#|>]*)/.exec(line)?.[1];
    if (!inside || example === undefined || example.startsWith('-')) continue;
    const words = example
      .trim()
      .split(/\s+/)
      .filter((word) => word !== '…');
    const group = findGroup(words[0] ?? '');
    const verb = words.find(
      (word, index) => index > 0 && !word.startsWith('-') && commands.has(`${group?.name} ${word}`),
    );
    const command = commands.get(`${group?.name}`) ?? commands.get(`${group?.name} ${verb}`);
    if (!command) {
      report(file, `shows "azekura ${example.trim()}", which is no command`);
      continue;
    }
    const known = new Set([...globals, ...command.options.flatMap(({ long, short }) => [long, short])]);
    for (const word of words) {
      const option = /^(--[\w-]+|-\w)/.exec(word)?.[1];
      if (option !== undefined && !known.has(option))
        report(file, `shows the option ${option} of "azekura ${example.trim()}", which is not there`);
    }
  }
}

/** The options of every command, from the table of docs/cli.md; main.ts keeps them in the program, where nobody can ask. */
function globalOptions(): Set<string> {
  const section = sections(readDocument('docs/cli.md'), 2).get('Global options') ?? '';
  return new Set([...section.matchAll(/^\|(.*?)\|/gm)].flatMap(([, cell = '']) => cell.match(/--[\w-]+|-\w\b/g) ?? []));
}

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory() && !ignoredFolders.has(entry.name)) yield* filesBelow(full);
    else if (entry.isFile()) yield full;
  }
}

/** The anchors that GitHub gives to the headings of a document. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const line of withoutCode(text)) {
    const title = /^#{1,6} +(.*)$/.exec(line)?.[1];
    if (title === undefined) continue;
    const slug = title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\- _]/gu, '')
      .trim()
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let again = 1; anchors.has(anchor); again++) anchor = `${slug}-${again}`;
    anchors.add(anchor);
  }
  return anchors;
}

function checkLinks(full: string): void {
  const file = path.relative(root, full);
  const text = withoutCode(readFileSync(full, 'utf8'))
    .join('\n')
    .replaceAll(/`[^`\n]*`/g, '');
  for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z][a-z+.-]*:/i.test(target)) continue;
    const [place = '', anchor] = target.split('#');
    const linked = place === '' ? full : path.resolve(path.dirname(full), place);
    if (!existsSync(linked)) report(file, `links to ${target}, which is not there`);
    else if (anchor !== undefined && linked.endsWith('.md') && !anchorsOf(readFileSync(linked, 'utf8')).has(anchor)) {
      report(file, `links to ${target}, but there is no heading of that name`);
    }
  }
}

/** Files of ours that a document names in code style must be there. */
function checkSourcePaths(full: string): void {
  const text = withoutCode(readFileSync(full, 'utf8')).join('\n');
  for (const [, named = ''] of text.matchAll(/`((?:src|test|scripts|lab|bench|deploy|docs)\/[\w./-]+)`/g)) {
    if (!existsSync(path.join(root, named))) report(path.relative(root, full), `names ${named}, which is not there`);
  }
}

/** Paths that make sense on one machine only: this folder, and those of the people and programs that wrote here. */
function machinePaths(): RegExp {
  const own = root.split('/').length > 2 ? [root.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')] : [];
  return new RegExp(
    [...own, '/wo' + 'rk/(?:main|shared)\\b', '/tmp/az' + 'k-', '/home/[a-z]+/', '/Users/[a-z]+/'].join('|'),
  );
}

function checkMachinePaths(full: string, pattern: RegExp): void {
  if (!textFile.test(full) || statSync(full).size > 2 ** 20) return;
  const lines = readFileSync(full, 'utf8').split('\n');
  for (const [index, line] of lines.entries()) {
    const match = pattern.exec(line);
    if (match && full !== fileURLToPath(import.meta.url))
      report(`${path.relative(root, full)}:${index + 1}`, `names the machine path ${match[0]}`);
  }
}

checkErrors();
checkCauses();
const commands = await checkCommands();
const globals = globalOptions();
const pattern = machinePaths();
for (const full of filesBelow(root)) {
  if (full.endsWith('.md')) {
    checkLinks(full);
    checkSourcePaths(full);
    checkExamples(full, commands, globals);
  }
  checkMachinePaths(full, pattern);
}
for (const problem of problems) console.error(problem);
if (problems.length > 0)
  console.error(`Error: ${problems.length} differences between the documents and what they describe`);
process.exit(problems.length === 0 ? 0 : 1);
