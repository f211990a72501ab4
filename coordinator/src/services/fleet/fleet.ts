import { isDeepStrictEqual } from "node:util";
import type { Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import type { KindOffer, NodeStatus, Standing } from "../../domain/node.ts";
import type { Owner } from "../../domain/owner.ts";
import type { Clock } from "../../ports/clock.ts";
import type { NodeStore } from "../../ports/nodes.ts";
import { Coalescer } from "../../util/coalescer.ts";
import type { Metrics } from "../metrics.ts";
import { CapacityIndex, type NodeQuery } from "./capacity-index.ts";
import { SUSPECT_AFTER } from "./limits.ts";
import { LiveNode, type NodeFault } from "./live-node.ts";
import type { NodeLink } from "./node-link.ts";
import { NodeRecords } from "./node-records.ts";
import type { Offer } from "./offer.ts";

export interface FleetComponents {
  readonly store: Pick<NodeStore, "joinNode" | "saveNode" | "saveLastSeen" | "saveStandings" | "standing" | "nodes">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, "nodes">;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface FleetInit {
  /** This coordinator, which holds the sessions of its nodes. */
  readonly self: Owner;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly maxNodes: number;
}

export interface FleetListener {
  /** A node may be given more work than before. */
  onCapacity(): void;
  /** The grace of a node without a sign of life is over; its leases are lost. */
  onOffline(node: LiveNode): void;
}

/**
 * Presence and capacity: which nodes live, what they may be given, and what they have earned. Lives in memory;
 * {@link NodeRecords} tells the store.
 */
export class Fleet {
  readonly #components: FleetComponents;
  readonly #init: FleetInit;
  readonly #nodes = new Map<Hex, LiveNode>();
  readonly #index = new CapacityIndex();
  readonly #records: NodeRecords;
  readonly #flush = new Coalescer(() => this.#flushRecords());
  #listener: FleetListener | undefined;
  #stopSweep: (() => void) | undefined;
  #sweptAt = 0;

  constructor(components: FleetComponents, init: FleetInit) {
    this.#components = components;
    this.#init = init;
    this.#records = new NodeRecords(components, init);
  }

  start(listener: FleetListener): void {
    this.#listener = listener;
    const { clock } = this.#components;
    this.#sweptAt = clock.monotonic();
    this.#stopSweep ??= clock.every(this.#init.heartbeatMs / 2, () => this.sweep());
  }

  async stop(): Promise<void> {
    this.#stopSweep?.();
    this.#stopSweep = undefined;
    await this.#flush.request();
  }

  /** Keeps a node in mind whose lease was taken over; it has the lease time to come here. */
  expect(offer: Offer, earned: Pick<Standing, "cap" | "valid" | "faults"> | null): LiveNode {
    const known = this.#nodes.get(offer.nodeId);
    if (known) return known;
    const node = this.#add(offer);
    node.restore(earned);
    this.#hear(node);
    return node;
  }

  /**
   * Nodes that an earlier run of this coordinator left online are suspect until they are seen again, here or elsewhere;
   * those that stay away become offline with whatever else that run owned.
   */
  async recover(): Promise<void> {
    const { store } = this.#components;
    for await (const nodes of this.#records.listPrevious("online")) {
      await Promise.all(nodes.map((node) => store.saveNode({ ...node, status: "suspect" })));
    }
  }

  /** A session begins; the node gets no work before it is welcomed. An older session is closed with SESSION_REPLACED. */
  async join(offer: Offer, link: NodeLink): Promise<LiveNode> {
    const { store, logger } = this.#components;
    const known = this.#nodes.get(offer.nodeId);
    if (!(known && isHeld(known)) && this.#isFull()) {
      throw new ComputeError("RATE_LIMITED", `this coordinator serves ${this.#init.maxNodes} nodes already`);
    }
    const standing = await this.#records.standing(offer.nodeId, offer.wallet);
    const node = this.#nodes.get(offer.nodeId) ?? this.#add(offer);
    const older = node.connect(offer, link, standing);
    older?.close(new ComputeError("SESSION_REPLACED"));
    this.heard(node);
    this.#show(node, "online");
    try {
      await store.joinNode(node.toNode(this.#init.self));
    } catch (error) {
      this.leave(node, link);
      throw error;
    }
    // While the state was written a still newer session may have come, or this one may have been lost.
    if (node.link !== link) throw new ComputeError("SESSION_REPLACED");
    logger.info({ nodeId: node.id, wallet: offer.wallet, session: link.sessionId, slots: offer.slots }, "node joined");
    return node;
  }

  /** The stream of `link` ended; leases hold for the lease time. */
  leave(node: LiveNode, link: NodeLink): void {
    if (node.link !== link) return;
    node.disconnect();
    this.#components.logger.info({ nodeId: node.id, session: link.sessionId }, "node left");
    // A node that said that it leaves, and holds nothing, is not waited for.
    if (node.isDraining && node.assignments.size === 0) this.#drop(node);
    else this.#changeStatus(node, "suspect");
  }

  /** A frame arrived on the live session. */
  heard(node: LiveNode): void {
    this.#hear(node);
    this.#records.seen(node);
    if (node.status === "suspect" && node.link !== null) this.#changeStatus(node, "online");
  }

  /** The node offers something else of its kinds from now on. */
  reoffer(node: LiveNode, offers: readonly KindOffer[]): void {
    if (isDeepStrictEqual(node.offer.offers, offers)) return;
    node.reoffer(offers);
    this.#records.changing(node);
  }

  /** A node with capacity for a kind that fits; see {@link NodeQuery}. */
  find(query: NodeQuery): LiveNode | undefined {
    return this.#index.find(query, this.#components.random);
  }

  /** Assignments that the nodes may be given together, at most `limit`. */
  freeCapacity(limit: number): number {
    return this.#index.free(limit);
  }

  /** A checked result. */
  credit(node: LiveNode): void {
    node.credit();
    this.#records.earned(node);
  }

  /** A fault of the node. */
  blame(node: LiveNode, fault: NodeFault): void {
    node.blame(fault, this.#components.clock.monotonic());
    this.#records.earned(node);
  }

  /** Others may have taken this coordinator for dead, and its nodes for offline: every state is stored again. */
  restate(): void {
    this.#records.changed(this.#nodes.values());
  }

  get(nodeId: Hex): LiveNode | undefined {
    return this.#nodes.get(nodeId);
  }

  /** Nodes with a session. */
  *online(): Iterable<LiveNode> {
    for (const node of this.#nodes.values()) if (node.link !== null) yield node;
  }

  counts(): { online: number; suspect: number } {
    let online = 0;
    let suspect = 0;
    for (const node of this.#nodes.values()) {
      if (node.status === "online") online++;
      else if (node.status === "suspect") suspect++;
    }
    return { online, suspect };
  }

  /** What a live node holds and may hold. */
  live(nodeId: Hex): { freeSlots: number; running: number; cap: number; load: number } | undefined {
    const node = this.#nodes.get(nodeId);
    if (!node) return undefined;
    return { freeSlots: node.capacity, running: node.assignments.size, cap: node.earned.cap, load: node.load };
  }

  /** What the nodes with a session offer, for reasons of waiting. */
  *offers(): Iterable<Pick<Offer, "wallet" | "offers">> {
    for (const node of this.online()) yield node.offer;
  }

  /** Finds silent nodes. A sweep that comes late itself (a stalled process) grants nodes the same delay. */
  sweep(): void {
    const { clock } = this.#components;
    const { heartbeatMs, leaseMs } = this.#init;
    const now = clock.monotonic();
    const late = Math.max(0, now - this.#sweptAt - heartbeatMs / 2);
    this.#sweptAt = now;
    for (const node of this.#nodes.values()) {
      node.forgive(late, now);
      const silent = now - node.heardAt;
      const grace = node.link === null ? leaseMs : SUSPECT_AFTER * heartbeatMs + leaseMs;
      if (silent > grace) this.#drop(node);
      else if (silent > SUSPECT_AFTER * heartbeatMs && node.status === "online") this.#changeStatus(node, "suspect");
      else node.endPause(now);
    }
    void this.#flush.request();
  }

  #add(offer: Offer): LiveNode {
    const node = new LiveNode(offer, (changed, grew) => {
      this.#index.update(changed);
      if (grew && changed.capacity > 0) this.#listener?.onCapacity();
    });
    this.#nodes.set(node.id, node);
    return node;
  }

  #hear(node: LiveNode): void {
    const { clock } = this.#components;
    node.hear(clock.monotonic(), clock.now());
  }

  /** Keeps a node in mind as long as a result of it is being checked or an end of its work is being written. */
  #drop(node: LiveNode): void {
    if (node.status !== "offline") {
      node.link?.close(new ComputeError("UNAVAILABLE", "no heartbeat came; dial again"));
      node.disconnect();
      this.#components.logger.info({ nodeId: node.id }, "node offline");
      this.#changeStatus(node, "offline");
      this.#listener?.onOffline(node);
    }
    if (node.assignments.size === 0) this.#nodes.delete(node.id);
  }

  #changeStatus(node: LiveNode, status: NodeStatus): void {
    this.#show(node, status);
    this.#records.changed([node]);
  }

  #show(node: LiveNode, status: NodeStatus): void {
    node.setStatus(status);
    const { online, suspect } = this.counts();
    this.#components.metrics.nodes.set({ status: "online" }, online);
    this.#components.metrics.nodes.set({ status: "suspect" }, suspect);
  }

  #isFull(): boolean {
    const { maxNodes } = this.#init;
    if (this.#nodes.size < maxNodes) return false;
    let held = 0;
    for (const node of this.#nodes.values()) if (isHeld(node)) held++;
    return held >= maxNodes;
  }

  async #flushRecords(): Promise<void> {
    for (const id of await this.#records.flush()) this.#yield(id);
  }

  /** The node has a newer session with another coordinator. */
  #yield(nodeId: Hex): void {
    const node = this.#nodes.get(nodeId);
    const link = node?.link;
    if (!node?.isWelcomed || !link) return;
    link.close(new ComputeError("SESSION_REPLACED"));
    this.leave(node, link);
  }
}

/** Whether it counts towards the limit of nodes: it has a session, or work to come back with. */
function isHeld({ link, assignments }: LiveNode): boolean {
  return link !== null || assignments.size > 0;
}
