import Fastify, { type FastifyInstance } from 'fastify';
import { Histogram, type Registry } from 'prom-client';
import { z } from 'zod';
import { withoutSchemas } from './without-schemas.ts';

/**
 * kube-scheduler's calls to an extender (k8s.io/kube-scheduler/extender/v1). Field names are those of its Go types. Only
 * what is used is read; the rest of a pod or node may be anything.
 */
const Meta = z.object({
  name: z.string().max(253),
  namespace: z.string().max(253).optional(),
  uid: z.string().max(64).optional(),
});
const ExtenderArgs = z.object({
  Pod: z.object({
    metadata: Meta,
    spec: z
      .object({
        volumes: z
          .array(
            z.object({
              name: z.string().max(253),
              persistentVolumeClaim: z.object({ claimName: z.string().max(253) }).nullish(),
              ephemeral: z.object({}).nullish(),
            }),
          )
          .nullish(),
      })
      .nullish(),
  }),
  NodeNames: z.array(z.string().max(253)).nullish(),
  Nodes: z.object({ items: z.array(z.object({ metadata: Meta }).loose()).nullish() }).nullish(),
});

/** A pod as the extender is told of it. */
export interface ExtenderPod {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid?: string };
  readonly spec: {
    readonly volumes: readonly {
      readonly name: string;
      readonly persistentVolumeClaim?: { readonly claimName: string };
      readonly ephemeral?: object;
    }[];
  };
}

/** Who knows where a pod's volumes can be; csi/scheduling's PodReservations does. */
export interface PodPlaces {
  /** Undefined for a pod that needs nothing of ours. */
  choose(
    pod: ExtenderPod,
    nodeNames: readonly string[],
  ):
    | {
        readonly passed: readonly { readonly nodeName: string; readonly score: number }[];
        readonly refused: ReadonlyMap<string, string>;
      }
    | undefined;
}

const largestScore = 10;
const bodyLimit = 32 * 2 ** 20;

/** A server for kube-scheduler: POST /filter and /prioritize. It tells of room and of names of nodes, and nothing else. */
export function createExtenderServer(places: PodPlaces, registry: Registry): FastifyInstance {
  const seconds = new Histogram({
    name: 'azekura_extender_seconds',
    help: 'Time of an answer to a scheduler',
    labelNames: ['verb'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.25, 1],
    registers: [registry],
  });
  const server = Fastify({ logger: false, forceCloseConnections: true, bodyLimit, schemaController: withoutSchemas });
  const answer = (verb: string, work: (args: Args) => unknown) =>
    server.post(`/${verb}`, async (request, reply) => {
      const parsed = ExtenderArgs.safeParse(request.body);
      if (!parsed.success) return reply.code(400).send({ Error: 'that is no call of a scheduler to its extender' });
      const end = seconds.startTimer({ verb });
      try {
        return work(argsOf(parsed.data));
      } finally {
        end();
      }
    });
  answer('filter', ({ pod, nodeNames, nodes }) => {
    const choice = places.choose(pod, nodeNames);
    const passed = choice ? new Set(choice.passed.map(({ nodeName }) => nodeName)) : undefined;
    return {
      ...(nodes
        ? { Nodes: { items: nodes.filter(({ metadata }) => passed?.has(metadata.name) ?? true) } }
        : { NodeNames: nodeNames.filter((name) => passed?.has(name) ?? true) }),
      // No pod that is evicted would give back the room of its volumes.
      FailedAndUnresolvableNodes: Object.fromEntries(choice?.refused ?? []),
      Error: '',
    };
  });
  answer('prioritize', ({ pod, nodeNames }) => {
    const choice = places.choose(pod, nodeNames);
    const scores = new Map(choice?.passed.map(({ nodeName, score }) => [nodeName, score]));
    return nodeNames.map((name) => ({ Host: name, Score: Math.round((scores.get(name) ?? 0) * largestScore) }));
  });
  return server;
}

interface Args {
  readonly pod: ExtenderPod;
  readonly nodeNames: readonly string[];
  /** When the scheduler sends whole nodes, it wants them back. */
  readonly nodes: readonly { readonly metadata: { readonly name: string } }[] | undefined;
}

function argsOf({ Pod, NodeNames, Nodes }: z.output<typeof ExtenderArgs>): Args {
  const { name, namespace = 'default', uid } = Pod.metadata;
  const volumes = (Pod.spec?.volumes ?? []).map(({ persistentVolumeClaim, ephemeral, ...volume }) => ({
    name: volume.name,
    ...(persistentVolumeClaim ? { persistentVolumeClaim } : {}),
    ...(ephemeral ? { ephemeral } : {}),
  }));
  const nodes = NodeNames ? undefined : (Nodes?.items ?? []);
  return {
    pod: { metadata: { name, namespace, ...(uid === undefined ? {} : { uid }) }, spec: { volumes } },
    nodeNames: NodeNames ?? nodes?.map(({ metadata }) => metadata.name) ?? [],
    nodes,
  };
}
