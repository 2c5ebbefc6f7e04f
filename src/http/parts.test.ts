import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCatalogue } from '../model/errors.ts';
import { openApiDocument } from './openapi.ts';
import { matchesFields, parseSelector } from './selector.ts';
import { redact } from './support-bundle.ts';
import { tarGz } from './tar.ts';

describe('tarGz()', () => {
  it('is read by tar, byte for byte', () => {
    const folder = mkdtempSync(join(tmpdir(), 'azekura-tar-'));
    try {
      const texts = ['', 'short', 'x'.repeat(512), '校倉\n'.repeat(1_000)];
      writeFileSync(
        join(folder, 'a.tar.gz'),
        tarGz(
          texts.map((text, index) => ({ name: `d/${index}.txt`, text })),
          1_700_000_000_000,
        ),
      );
      execFileSync('tar', ['-xzf', 'a.tar.gz'], { cwd: folder });
      texts.forEach((text, index) => {
        expect(readFileSync(join(folder, 'd', `${index}.txt`), 'utf8')).toBe(text);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('redact()', () => {
  it('leaves no value of a field that speaks of secrets, however deep, and keeps the rest', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('token', 'apiToken', 'password', 'clientSecret', 'Authorization', 'passphrase'),
        fc.array(fc.string(), { maxLength: 4 }),
        (key, path) => {
          const inner: Record<string, unknown> = { [key]: 'hunter2', size: 7 };
          const outer = path.reduce<unknown>((value, name) => [{ [`f${name}`]: value }], inner);
          const text = JSON.stringify(redact(outer));
          expect(text).not.toContain('hunter2');
        },
      ),
    );
    expect(redact({ keySecretName: 'backup-key', a: [1, null] })).toEqual({
      keySecretName: 'backup-key',
      a: [1, null],
    });
  });
});

describe('selectors', () => {
  it('match fields by dotted paths, own fields only', () => {
    const object = { metadata: { name: 'db' }, spec: { subject: { kind: 'Volume' }, size: 7 } };
    expect(matchesFields(object, parseSelector('spec.subject.kind=Volume,spec.size==7', 'x'))).toBe(true);
    expect(matchesFields(object, { 'spec.subject.kind': 'Pool' })).toBe(false);
    expect(matchesFields(object, { 'metadata.constructor.name': 'Object' })).toBe(false);
    expect(() => parseSelector('a!=b', 'labelSelector')).toThrow(/labelSelector "a!=b"/);
  });
});

describe('openApiDocument()', () => {
  const document = openApiDocument('1') as {
    paths: Record<string, Record<string, { operationId: string; parameters: { name: string; in: string }[] }>>;
    components: { schemas: Record<string, unknown> };
  };

  it('has unique operation ids, declares every parameter of a path, and refers only to schemas that are there', () => {
    const ids: string[] = [];
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const operation of Object.values(methods)) {
        ids.push(operation.operationId);
        const declared = operation.parameters
          .filter((parameter) => parameter.in === 'path')
          .map((parameter) => parameter.name);
        expect(declared).toEqual([...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]));
      }
    }
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, name] of JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g))
      expect(document.components.schemas).toHaveProperty(name ?? '');
  });

  it('names every error', () => {
    for (const code of Object.keys(errorCatalogue)) expect(JSON.stringify(document)).toContain(code);
  });
});
