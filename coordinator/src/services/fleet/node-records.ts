import type { Address, Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import type { Node, NodeStatus, Standing } from "../../domain/node.ts";
import type { Owner } from "../../domain/owner.ts";
import type { NodeStore } from "../../ports/nodes.ts";
import { logFailure } from "../../util/log-failure.ts";
import { NODE_PAGE } from "./limits.ts";
import type { LiveNode } from "./live-node.ts";

export interface NodeRecordsComponents {
  readonly store: Pick<NodeStore, "saveNode" | "saveLastSeen" | "saveStandings" | "standing" | "nodes">;
  readonly logger: Logger;
}

/**
 * Tells the store of the nodes here: changes of state at once, times of last contact and standings in one write every few
 * seconds. What the store refuses is written again.
 */
export class NodeRecords {
  readonly #components: NodeRecordsComponents;
  readonly #self: Owner;
  readonly #seen = new Set<LiveNode>();
  /** By node and wallet. */
  readonly #standings = new Map<string, Standing>();
  /** Nodes whose state is not stored as it is here. */
  readonly #changed = new Set<LiveNode>();

  constructor(components: NodeRecordsComponents, { self }: { readonly self: Owner }) {
    this.#components = components;
    this.#self = self;
  }

  /** A frame of the node arrived. */
  seen(node: LiveNode): void {
    this.#seen.add(node);
  }

  /** The node's cap or counts changed. */
  earned({ id: nodeId, offer: { wallet }, earned }: LiveNode): void {
    this.#standings.set(`${nodeId}/${wallet}`, { nodeId, wallet, ...earned });
  }

  /** The node says something else of itself; stored with the next flush, however often it does so. */
  changing(node: LiveNode): void {
    this.#changed.add(node);
  }

  /** The nodes' state changed, or may differ in the store. */
  changed(nodes: Iterable<LiveNode>): void {
    for (const node of nodes) this.#changed.add(node);
    void this.#saveChanged();
  }

  /** What a pair of node and wallet has earned, including what is not stored yet. */
  async standing(nodeId: Hex, wallet: Address): Promise<Standing | null> {
    return this.#standings.get(`${nodeId}/${wallet}`) ?? (await this.#components.store.standing(nodeId, wallet));
  }

  /** Nodes that an earlier run of this coordinator left in a state, page by page. */
  async *listPrevious(status: NodeStatus): AsyncIterable<readonly Node[]> {
    const { coordinatorId } = this.#self;
    for (let cursor: string | undefined; ; ) {
      const query = { status, coordinatorId, limit: NODE_PAGE, ...(cursor !== undefined && { cursor }) };
      const page = await this.#components.store.nodes(query);
      yield page.items;
      cursor = page.cursor;
      if (cursor === undefined) return;
    }
  }

  /** Stores everything that is not stored yet. Returns the nodes that another coordinator holds by now. */
  async flush(): Promise<readonly Hex[]> {
    const { store, logger } = this.#components;
    await this.#saveChanged();
    const standings = [...this.#standings];
    try {
      if (standings.length > 0) await store.saveStandings(standings.map(([, standing]) => standing));
      for (const [key, standing] of standings) if (this.#standings.get(key) === standing) this.#standings.delete(key);
    } catch (error) {
      logFailure(logger, error, "standings not stored; trying again");
    }
    // Opening a session stores its node.
    const seen = [...this.#seen].filter(({ isWelcomed }) => isWelcomed).map(({ id, lastSeen }) => ({ id, lastSeen }));
    this.#seen.clear();
    try {
      return seen.length > 0 ? await store.saveLastSeen(this.#self, seen) : [];
    } catch (error) {
      logFailure(logger, error, "times of last contact not stored");
      return [];
    }
  }

  async #saveChanged(): Promise<void> {
    const { store, logger } = this.#components;
    const nodes = [...this.#changed];
    this.#changed.clear();
    const save = async (node: LiveNode) => {
      try {
        // Refused when the node has gone to another coordinator, which stores its state.
        await store.saveNode(node.toNode(this.#self));
      } catch (error) {
        this.#changed.add(node);
        logFailure(logger, error, "node state not stored; trying again", { nodeId: node.id });
      }
    };
    await Promise.all(nodes.map(save));
  }
}
