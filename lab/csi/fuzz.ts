/** Requests of any content for any call: what an untrusted or broken client could send. */
import fc from 'fast-check';

/** Stand for what is there, so that not every request ends at the first check. */
const placeholders = ['@volume', '@snapshot', '@node', '@path', '@topology'] as const;
/** What they stand for. */
export type Known = Readonly<Record<(typeof placeholders)[number], string>>;

const text = fc.oneof(
  fc.string({ maxLength: 200, unit: 'binary' }),
  fc.constantFrom(
    '',
    '..',
    '../../etc',
    '/',
    '/proc/self',
    'a\u0000b',
    '%s%n',
    '$(id)',
    'fake-vol-id',
    ...placeholders,
    'x'.repeat(10_000),
  ),
);
const integer = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(0n, -1n, 2n ** 63n - 1n),
);
const map = fc.dictionary(text, text, { maxKeys: 5 });
const topology = fc.record({ segments: map });
const capability = fc.record(
  {
    accessMode: fc.record({ mode: fc.integer({ min: -3, max: 12 }) }),
    accessType: fc.oneof(
      fc.constant({ case: 'block', value: {} }),
      fc.record({
        case: fc.constant('mount'),
        value: fc.record({ fsType: text, mountFlags: fc.array(text, { maxLength: 3 }), volumeMountGroup: text }),
      }),
    ),
  },
  { requiredKeys: [] },
);
const source = fc.oneof(
  fc.constant(undefined),
  fc.record({ type: fc.record({ case: fc.constant('snapshot'), value: fc.record({ snapshotId: text }) }) }),
  fc.record({ type: fc.record({ case: fc.constant('volume'), value: fc.record({ volumeId: text }) }) }),
);
const request = fc.record(
  {
    name: text,
    volumeId: text,
    nodeId: text,
    snapshotId: text,
    groupSnapshotId: text,
    sourceVolumeId: text,
    baseSnapshotId: text,
    targetSnapshotId: text,
    sourceVolumeIds: fc.array(text, { maxLength: 3 }),
    snapshotIds: fc.array(text, { maxLength: 3 }),
    stagingTargetPath: text,
    targetPath: text,
    volumePath: text,
    startingToken: text,
    maxEntries: fc.integer(),
    maxResults: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    startingOffset: integer,
    readonly: fc.boolean(),
    parameters: map,
    mutableParameters: map,
    volumeContext: map,
    secrets: map,
    capacityRange: fc.record({ requiredBytes: integer, limitBytes: integer }, { requiredKeys: [] }),
    volumeCapability: capability,
    volumeCapabilities: fc.array(capability, { maxLength: 3 }),
    accessibilityRequirements: fc.record({
      requisite: fc.array(topology, { maxLength: 2 }),
      preferred: fc.array(topology, { maxLength: 2 }),
    }),
    volumeContentSource: source,
  },
  { requiredKeys: [] },
);

/** Any fields that a request of CSI may have, each with or without sense; calls take those that they know. */
export const fuzzedRequest: fc.Arbitrary<object> = request.map(({ volumeContentSource: made, ...rest }) =>
  made ? { ...rest, volumeContentSource: made } : rest,
);

/** The request with what is known in the place of what stands for it. */
export function withKnown(value: object, known: Known): object {
  return filled(value, new Map(Object.entries(known))) as object;
}

function filled(value: unknown, known: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string') return known.get(value) ?? value;
  if (Array.isArray(value)) return value.map((each) => filled(each, known));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [known.get(key) ?? key, filled(each, known)]));
}

/** The codes that a request may be answered with: never INTERNAL or UNKNOWN. */
export const properCodes: readonly string[] = [
  'OK',
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'OUT_OF_RANGE',
  'FAILED_PRECONDITION',
  'ABORTED',
  'RESOURCE_EXHAUSTED',
  'DEADLINE_EXCEEDED',
];
