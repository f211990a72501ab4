import type { Address, Hex } from "@proof-of-compute/proto";
import type { Node, NodeStatus, Standing } from "../domain/node.ts";
import type { Owner } from "../domain/owner.ts";
import type { Page, PageQuery } from "./pages.ts";

/** Nodes as last known, and what each has earned. */
export interface NodeStore {
  /** Stores a node that opened a session with `node.owner`, whoever had it before. */
  joinNode(node: Node): Promise<void>;
  /** Stores a change of a node; false, and nothing written, unless its stored owner is `node.owner`. */
  saveNode(node: Node): Promise<boolean>;
  /**
   * One coalesced write of when an owner's nodes were last heard. Returns the ids whose stored owner is another, which
   * stay as they are; unknown ones are passed over.
   */
  saveLastSeen(owner: Owner, seen: readonly { readonly id: Hex; readonly lastSeen: number }[]): Promise<Hex[]>;
  /** Every node that is not offline and whose owner is none of `owners` is offline from now on. Returns how many. */
  releaseNodes(owners: readonly Owner[]): Promise<number>;
  node(id: Hex): Promise<Node | null>;
  /** By id. */
  nodes(
    query: PageQuery & { readonly wallet?: Address; readonly status?: NodeStatus; readonly coordinatorId?: string },
  ): Promise<Page<Node>>;
  /** How many nodes there are of each status. */
  nodeCounts(): Promise<Readonly<Record<NodeStatus, number>>>;
  /** Removes nodes that are offline, were last seen before `before` and never had a valid result; returns how many. */
  pruneNodes(before: number, limit: number): Promise<number>;
  standing(nodeId: Hex, wallet: Address): Promise<Standing | null>;
  saveStandings(standings: readonly Standing[]): Promise<void>;
}
