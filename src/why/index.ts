export { type Problem, problems } from './problems.ts';
export type { Relations } from './relations.ts';
export { findRoot, type Root } from './root.ts';
