import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/**
 * The one-way rule of imports: a folder of src/ may import from folders of a lower rank, and from itself. Folders of the
 * same rank do not know each other. The exceptions are listed with their reason.
 */
const ranks: readonly (readonly string[])[] = [
  ['bin'],
  ['csi', 'http', 'cli'],
  ['control', 'agent', 'rescue'],
  ['why'],
  ['engines', 'backup', 'placement', 'store'],
  ['kube', 'host'],
  ['model', 'gen'],
  ['lib'],
];

const src = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), 'src');
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

function importsOf(file: string): string[] {
  const text = readFileSync(path.join(src, file), 'utf8');
  const found: string[] = [];
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
    const target = path.relative(src, path.resolve(src, path.dirname(file), match[1] ?? ''));
    if (!target.startsWith('..')) found.push(target);
  }
  return found;
}

const rankOf = (file: string) => ranks.findIndex((rank) => rank.includes(file.split(path.sep)[0] ?? ''));

describe('imports between the folders of src', () => {
  it('every folder has a rank', () => {
    expect(files.filter((file) => rankOf(file) < 0)).toEqual([]);
  });

  it('point one way only', () => {
    const wrong: string[] = [];
    for (const file of files) {
      for (const target of importsOf(file)) {
        const sameFolder = file.split(path.sep)[0] === target.split(path.sep)[0];
        if (!sameFolder && rankOf(target) <= rankOf(file)) wrong.push(`${file} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('have no cycle', () => {
    const graph = new Map(files.map((file) => [file, importsOf(file)]));
    const done = new Set<string>();
    const open: string[] = [];
    const cycles: string[] = [];
    const visit = (file: string) => {
      if (open.includes(file)) cycles.push([...open.slice(open.indexOf(file)), file].join(' → '));
      if (done.has(file) || open.includes(file)) return;
      open.push(file);
      for (const target of graph.get(file) ?? []) visit(target);
      open.pop();
      done.add(file);
    };
    for (const file of files) visit(file);
    expect(cycles).toEqual([]);
  });

  it('only host/ reaches the operating system', () => {
    const wrong = files.filter((file) => {
      if (file.startsWith('host') || file.endsWith('.test.ts')) return false;
      const text = readFileSync(path.join(src, file), 'utf8');
      return /from 'node:child_process'|from 'koffi'|'\/proc\/|'\/sys\//.test(text);
    });
    expect(wrong).toEqual([]);
  });
});
