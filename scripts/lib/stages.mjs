// The stages of `npm run check` before the unit tests; `npm test` runs the same ones.
export const stages = [
  { name: 'types', command: ['tsc', '--noEmit', '-p', '.'] },
  { name: 'format and syntax lint', command: ['biome', 'check', '--error-on-warnings', '.'] },
  { name: 'lint with types', command: ['eslint', '--max-warnings=0', 'src', 'test', 'lab', 'bench', 'scripts'] },
  { name: 'generated files up to date', command: ['tsx', 'scripts/generate.ts', '--check'] },
  { name: 'documents', command: ['tsx', 'scripts/check-docs.ts'] },
];
