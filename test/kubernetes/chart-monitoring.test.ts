/** Alerts and dashboard of the chart. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { run } from '../../lab/kubernetes/exec.ts';
import { chart, root } from './chart.ts';

describe('alerts and dashboard', () => {
  const alerts = (
    parse(readFileSync(path.join(chart, 'files/alerts.yaml'), 'utf8')) as {
      alerts: { alert: string; expr: string; runbook: string }[];
    }
  ).alerts;
  const dashboard = JSON.parse(readFileSync(path.join(chart, 'files/dashboard.json'), 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };

  it.each(alerts.map((each) => [each.alert, each.runbook]))('%s has the runbook %s', (_, runbook) => {
    expect(existsSync(path.join(root, 'docs/operations', runbook))).toBe(true);
  });

  it('use metrics that we have', async () => {
    const source = await run(['grep', '-rhoE', "name: '[a-z_]+'", path.join(root, 'src')]);
    const known = new Set([...source.matchAll(/'([a-z_]+)'/g)].map((match) => match[1]));
    const expressions = [
      ...alerts.map((each) => each.expr),
      ...dashboard.panels.flatMap((p) => p.targets.map((t) => t.expr)),
    ];
    for (const expression of expressions)
      for (const [metric] of expression.matchAll(/\b(azekura|process|nodejs)_[a-z_]+/g))
        expect([...known], expression).toContain(metric.replace(/_bucket$/, ''));
  });
});
