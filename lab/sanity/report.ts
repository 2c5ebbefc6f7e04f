import { readFileSync } from 'node:fs';

/** What csi-sanity says of its specs, in its own words. */
export interface SanityReport {
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  readonly skipped: readonly string[];
  readonly pending: readonly string[];
}

/** Reads the report that csi-sanity writes with `--ginkgo.json-report`. */
export function readSanityReport(file: string): SanityReport {
  const suites = JSON.parse(readFileSync(file, 'utf8')) as {
    SpecReports: { State: string; LeafNodeType: string; LeafNodeText: string; ContainerHierarchyTexts: string[] }[];
  }[];
  const all = suites.flatMap((suite) => suite.SpecReports).filter((spec) => spec.LeafNodeType === 'It');
  const others = ['passed', 'skipped', 'pending'];
  const named = (state: string): string[] =>
    all
      .filter((spec) => (state === 'failed' ? !others.includes(spec.State) : spec.State === state))
      .map((spec) =>
        state === 'pending'
          ? spec.LeafNodeText
          : [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' › '),
      );
  return { passed: named('passed'), failed: named('failed'), skipped: named('skipped'), pending: named('pending') };
}
