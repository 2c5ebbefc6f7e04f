import { stringify } from 'yaml';
import { z } from 'zod';
import { type Kind, kindNames, kinds, nameOf } from '../../src/model/kinds.ts';
import { apiVersion } from '../../src/model/meta.ts';
import { printerColumns } from './columns.ts';
import { objectRules, specRules } from './rules.ts';
import { type Rule, type Schema, structural } from './schema.ts';

const [group = '', version = ''] = apiVersion.split('/');

/** Where the chart takes them from. */
export const crdFolder = 'deploy/chart/files/crds';

/** The files of all CustomResourceDefinitions: path below the project → YAML. */
export function crdFiles(): ReadonlyMap<string, string> {
  return new Map(
    kindNames.map((kind) => [
      `${crdFolder}/${kinds[kind].plural}.yaml`,
      `# Made by \`npm run generate\` from src/model/. Do not edit.\n${stringify(crdOf(kind), { lineWidth: 0, aliasDuplicateObjects: false })}`,
    ]),
  );
}

/** The CustomResourceDefinition of a kind (apiextensions.k8s.io/v1). */
export function crdOf(kind: Kind) {
  const { plural, shortNames, fields } = kinds[kind];
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      labels: { 'app.kubernetes.io/part-of': 'azekura' },
      // With the definition would go every object of the kind: uninstalling must not forget the volumes.
      annotations: { 'helm.sh/resource-policy': 'keep' },
    },
    spec: {
      group,
      scope: 'Cluster',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        // `kubectl get no` and `po` stay Kubernetes' own.
        shortNames: shortNames.map((name) => `az${name}`),
        categories: ['azekura'],
      },
      conversion: { strategy: 'None' },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: printerColumns[kind],
          selectableFields: fields.map((field) => ({ jsonPath: `.${field}` })),
          schema: { openAPIV3Schema: objectSchema(kind) },
        },
      ],
    },
  };
}

function objectSchema(kind: Kind): Schema {
  const { pattern = '', maxLength } = json(nameOf(kind));
  return {
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object', properties: { name: { type: 'string', pattern, maxLength } } },
      spec: withRules(structural(json(kinds[kind].spec), `${kind}.spec`), specRules(kind)),
      status: structural(json(kinds[kind].status), `${kind}.status`),
    },
    ...rulesOf(objectRules(kind)),
  };
}

function json(schema: z.ZodType): Schema {
  const { $schema: _, '~standard': __, ...rest } = z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input' });
  return rest as Schema;
}

function withRules(schema: Schema, rules: readonly Rule[]): Schema {
  return { ...schema, ...rulesOf(rules) };
}

function rulesOf(rules: readonly Rule[]): Schema {
  if (rules.length === 0) return {};
  return { 'x-kubernetes-validations': rules.map((rule) => ({ ...rule, reason: 'FieldValueInvalid' })) };
}
