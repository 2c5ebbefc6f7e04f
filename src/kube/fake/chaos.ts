import fc from 'fast-check';
import type { KubeClient, KubeObject, ResourceType } from '../client.ts';
import type { Faults, LineFault, RequestFault } from './faulty-proxy.ts';

/** One step of a random story about the objects of a kind. */
export interface ChaosStep {
  readonly verb: 'create' | 'change' | 'delete' | 'wait';
  readonly name: string;
}

const noticeable: readonly LineFault[] = [
  'cut',
  'stall',
  'repeat',
  'repeatOlder',
  'swap',
  'truncate',
  'garbage',
  'gone',
  'error',
  'slowBytes',
];
const requestFaults: readonly RequestFault[] = [
  'reset',
  'stall',
  'tooMany',
  'unavailable',
  'internal',
  'garbage',
  'gone',
];

export const chaosSteps = fc.array(
  fc.record<ChaosStep>({
    verb: fc.constantFrom('create', 'create', 'change', 'change', 'delete', 'wait'),
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  }),
  { minLength: 10, maxLength: 60 },
);

/** What goes wrong, in the order of requests and of lines; then all over again. */
export const chaosFaults = (lines: readonly LineFault[] = noticeable) =>
  fc.record({
    requests: fc.array(fc.option(fc.constantFrom(...requestFaults), { freq: 2, nil: undefined }), {
      minLength: 3,
      maxLength: 15,
    }),
    lines: fc.array(fc.option(fc.constantFrom(...lines), { freq: 3, nil: undefined }), { minLength: 3, maxLength: 25 }),
  });

/** Plays the lists of faults in turns. */
export function turns(faults: {
  readonly requests: readonly (RequestFault | undefined)[];
  readonly lines: readonly (LineFault | undefined)[];
}): Faults {
  let request = 0;
  let line = 0;
  return {
    request: () => faults.requests[request++ % faults.requests.length],
    line: () => faults.lines[line++ % faults.lines.length],
  };
}

/** Tells the story to the server, by a client that has no faults. */
export async function play(
  client: KubeClient,
  type: ResourceType,
  steps: readonly ChaosStep[],
  body: (name: string, round: number) => KubeObject,
): Promise<void> {
  for (const [round, { verb, name }] of steps.entries()) {
    const present = await client.find<KubeObject>(type, name);
    if (verb === 'wait') await new Promise((resolve) => setTimeout(resolve, 5));
    else if (!present && verb === 'create') await client.create(type, body(name, round));
    else if (present && verb === 'delete') await client.delete(type, { name });
    else if (present && verb === 'change')
      await client.replace(type, { ...present, ...body(name, round), metadata: present.metadata });
  }
}
