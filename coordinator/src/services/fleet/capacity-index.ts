import type { Hex, TaskKindName } from "@proof-of-compute/proto";
import { PROBES } from "./limits.ts";
import type { LiveNode } from "./live-node.ts";

/** What a search looks for. */
export interface NodeQuery {
  readonly kind: TaskKindName;
  /** Nodes that tried the task before; they are chosen only when no other node fits. */
  readonly tried: ReadonlySet<Hex>;
  readonly fits: (node: LiveNode) => boolean;
  /** Chosen before any other, if it fits. */
  readonly preferred?: LiveNode | undefined;
}

/** The nodes that may be given work now, by kind, so that a search looks at no node without capacity for the kind. */
export class CapacityIndex {
  readonly #nodes = new NodeList();
  readonly #nodesOf = new Map<TaskKindName, NodeList>();

  /** Looks at a node's capacity again. */
  update(node: LiveNode): void {
    this.#nodes.set(node, node.capacity > 0);
    for (const { kind } of node.offer.offers) if (!this.#nodesOf.has(kind)) this.#nodesOf.set(kind, new NodeList());
    for (const [kind, nodes] of this.#nodesOf) nodes.set(node, node.capacityOf(kind) > 0);
  }

  /** Assignments that the nodes may be given together, at most `limit`. */
  free(limit: number): number {
    let sum = 0;
    for (const node of this.#nodes.items) {
      sum += node.capacity;
      if (sum >= limit) return limit;
    }
    return sum;
  }

  /** A node that fits: of two random ones that with more free slots, so that no node gets everything. */
  find({ kind, tried, fits, preferred }: NodeQuery, random: () => number): LiveNode | undefined {
    const nodes = this.#nodesOf.get(kind)?.items ?? [];
    const isFresh = (node: LiveNode) => !tried.has(node.id) && fits(node);
    if (preferred && preferred.capacityOf(kind) > 0 && isFresh(preferred)) return preferred;
    let best: LiveNode | undefined;
    for (let probe = 0, found = 0; probe < PROBES && found < 2 && nodes.length > 0; probe++) {
      const node = nodes[Math.floor(random() * nodes.length)]!;
      if (!isFresh(node)) continue;
      found++;
      if (best === undefined || node.occupancy < best.occupancy) best = node;
    }
    return best ?? nodes.find(isFresh) ?? nodes.find(fits);
  }
}

/** A set as a list without holes, for random choice. */
class NodeList {
  readonly items: LiveNode[] = [];
  readonly #positions = new Map<LiveNode, number>();

  set(node: LiveNode, isMember: boolean): void {
    const position = this.#positions.get(node);
    if (isMember === (position !== undefined)) return;
    if (position === undefined) {
      this.#positions.set(node, this.items.push(node) - 1);
      return;
    }
    this.#positions.delete(node);
    const last = this.items.pop()!;
    if (last === node) return;
    this.items[position] = last;
    this.#positions.set(last, position);
  }
}
