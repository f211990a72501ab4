import type { Address, Hex } from "@proof-of-compute/proto";
import type { Node, NodeStatus, Standing } from "../domain/node.ts";
import type { Owner } from "../domain/owner.ts";
import type { Page, PageQuery } from "./pages.ts";

/** The last known state of nodes, and their standings. */
export interface NodeStore {
  /** Stores a node that opened a session with `node.owner`, whatever coordinator owned it before. */
  joinNode(node: Node): Promise<void>;
  /** Stores a change of a node. Returns false, with nothing written, unless its stored owner is `node.owner`. */
  saveNode(node: Node): Promise<boolean>;
  /**
   * Stores in one write when an owner's nodes were last heard. Returns the ids of nodes with another stored owner, which
   * stay as they are; skips unknown nodes.
   */
  saveLastSeen(owner: Owner, seen: readonly { readonly id: Hex; readonly lastSeen: number }[]): Promise<Hex[]>;
  /** Sets every node to offline that has none of these `owners`. Returns the number of nodes that changed. */
  releaseNodes(owners: readonly Owner[]): Promise<number>;
  node(id: Hex): Promise<Node | null>;
  /** By id. */
  nodes(
    query: PageQuery & { readonly wallet?: Address; readonly status?: NodeStatus; readonly coordinatorId?: string },
  ): Promise<Page<Node>>;
  /** The number of nodes by status. */
  nodeCounts(): Promise<Readonly<Record<NodeStatus, number>>>;
  /**
   * Removes nodes that are offline, were last seen before `before` and never had a valid result; returns their number.
   */
  pruneNodes(before: number, limit: number): Promise<number>;
  standing(nodeId: Hex, wallet: Address): Promise<Standing | null>;
  saveStandings(standings: readonly Standing[]): Promise<void>;
}
