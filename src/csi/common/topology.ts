import type { Topology, TopologyRequirement } from '../../gen/csi/csi_pb.js';

/** Where a node-local volume can be used: the node itself. */
export const topologyKey = 'topology.azekura.dev/node';

/** The place of a node in CSI's words. */
export function topologyOf(nodeName: string): { segments: Record<string, string> } {
  return { segments: { [topologyKey]: nodeName } };
}

/**
 * Nodes that a requirement admits, the preferred ones first; undefined when it says nothing of our key. A topology of
 * other keys only (a zone) does not name nodes of ours, and admits none.
 */
export function admittedNodes(requirement: TopologyRequirement | undefined): readonly string[] | undefined {
  if (!requirement) return undefined;
  const preferred = nodesOf(requirement.preferred);
  const requisite = nodesOf(requirement.requisite);
  if (requirement.requisite.length === 0) {
    // Preferred alone is a wish (CSI 1.13, TopologyRequirement): other nodes would do as well, but a node-local engine has
    // its volumes where its pods go, so it is taken at its word.
    return requirement.preferred.length === 0 ? undefined : preferred;
  }
  const first = preferred.filter((node) => requisite.includes(node));
  return [...first, ...requisite.filter((node) => !first.includes(node))];
}

/** The node that a topology names; undefined when it names none of ours. */
export function nodeOf(topology: Topology): string | undefined {
  return topology.segments[topologyKey];
}

function nodesOf(topologies: readonly Topology[]): string[] {
  return [...new Set(topologies.flatMap((topology) => nodeOf(topology) ?? []))];
}
