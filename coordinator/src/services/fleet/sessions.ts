import type { Address, Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import type { KindOffer } from "../../domain/node.ts";
import type { Owner } from "../../domain/owner.ts";
import { INLINE_OUTPUT_BYTES } from "../results/limits.ts";
import type { Fleet } from "./fleet.ts";
import type { LiveNode } from "./live-node.ts";
import type { NodeLink } from "./node-link.ts";
import type { Offer } from "./offer.ts";

export interface SessionsComponents {
  readonly fleet: Pick<Fleet, "join" | "counts" | "online"> & SessionFleet;
  readonly leases: { onJoined(node: LiveNode, running: readonly Hex[]): void };
  readonly takeover: { adopt(node: LiveNode): Promise<void> };
  readonly logger: Logger;
}

export interface SessionsInit {
  /** This coordinator. */
  readonly self: Owner;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  /** Over how many milliseconds a number of nodes are to spread their reconnects. */
  readonly reconnectSpreadMs: (nodes: number) => number;
  /** Where units are recorded; undefined: nowhere yet. */
  readonly contract: { readonly chainId: number; readonly address: Address } | undefined;
}

/** Opens and closes the sessions of nodes. */
export class Sessions {
  readonly #components: SessionsComponents;
  readonly #init: SessionsInit;

  constructor(components: SessionsComponents, init: SessionsInit) {
    this.#components = components;
    this.#init = init;
  }

  /**
   * Opens a session: the node joins the fleet, its live assignments become this coordinator's, it is welcomed, and may be given
   * work. When a step fails or `signal` says that the stream ended, the node leaves again and the error is thrown. An older
   * session of the same node is closed with SESSION_REPLACED.
   */
  async open(offer: Offer, link: NodeLink, signal: AbortSignal): Promise<Session> {
    const { fleet, leases, takeover, logger } = this.#components;
    const { self, heartbeatMs, leaseMs, contract } = this.#init;
    signal.throwIfAborted();
    const node = await fleet.join(offer, link);
    try {
      signal.throwIfAborted();
      await takeover.adopt(node);
      signal.throwIfAborted();
      if (node.link !== link) throw new ComputeError("SESSION_REPLACED");
    } catch (error) {
      fleet.leave(node, link);
      throw error;
    }
    link.welcome({
      coordinatorId: self.coordinatorId,
      heartbeatMs,
      leaseMs,
      reconnectSpreadMs: this.#spread(),
      inlineOutputBytes: INLINE_OUTPUT_BYTES,
      contract,
    });
    leases.onJoined(node, offer.runningAssignmentIds);
    node.welcome();
    logger.debug({ nodeId: node.id, session: link.sessionId }, "session open");
    return new Session(fleet, node, link);
  }

  /** Asks every node to dial again, here or elsewhere. */
  reconnectAll(reason: string): void {
    const spreadMs = this.#spread();
    for (const node of this.#components.fleet.online()) node.link?.reconnect(spreadMs, reason);
  }

  #spread(): number {
    const { online, suspect } = this.#components.fleet.counts();
    return this.#init.reconnectSpreadMs(online + suspect);
  }
}

type SessionFleet = Pick<Fleet, "leave" | "heard" | "reoffer">;

/** One open session of a node. */
export class Session {
  readonly node: LiveNode;
  readonly #fleet: SessionFleet;
  readonly #link: NodeLink;

  constructor(fleet: SessionFleet, node: LiveNode, link: NodeLink) {
    this.#fleet = fleet;
    this.node = node;
    this.#link = link;
  }

  /** A frame arrived. */
  heard(): void {
    if (this.node.link === this.#link) this.#fleet.heard(this.node);
  }

  /** The node offers something else of its kinds from now on. */
  reoffer(offers: readonly KindOffer[]): void {
    this.#fleet.reoffer(this.node, offers);
  }

  /** The stream ended. Leases hold for the lease time; outputs whose results are not here have to come again. */
  close(): void {
    if (this.node.link !== this.#link) return;
    for (const assignment of this.node.assignments.values()) {
      if (assignment.phase !== "checking") assignment.dropUpload();
    }
    this.#fleet.leave(this.node, this.#link);
  }
}
