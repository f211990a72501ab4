import type { Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import type { NodeStatus, Standing } from "../../domain/node.ts";
import type { Owner } from "../../domain/owner.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Store } from "../../ports/store.ts";
import type { Metrics } from "../metrics.ts";
import { LiveNode, type NodeFault, type NodeLink, type Offer } from "./live-node.ts";
import { NodeRecords } from "./node-records.ts";

/** Missed heartbeats after which a node is suspect. */
const SUSPECT_AFTER = 2.5;
/** Longest pause after wrong results and failures. */
const MAX_PAUSE_MS = 300_000;
/** Random nodes that are looked at before all of them are. */
const PROBES = 6;

export interface FleetComponents {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
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

/** Who listens: the scheduler. */
export interface FleetListener {
  /** The node has room for work. */
  onCapacity(): void;
  /** A session began; `running` are the assignments that the node says it still has. */
  onJoined(node: LiveNode, running: readonly Hex[]): void;
  /** The grace is over; its leases are lost. */
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
  /** Nodes with room; a list for random choice, kept without holes. */
  readonly #roomy: LiveNode[] = [];
  readonly #records: NodeRecords;
  #listener: FleetListener | undefined;
  #stopSweep: (() => void) | undefined;
  #sweptAt = 0;
  #flushing: Promise<void> | undefined;

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
    await this.#flush();
  }

  /** Makes room for a node whose lease was taken over; it has the lease time to come here. */
  expect(offer: Offer, standing: Pick<Standing, "valid" | "faults"> | null): LiveNode {
    const known = this.#nodes.get(offer.nodeId);
    if (known) return known;
    const node = new LiveNode(offer.nodeId, offer);
    node.valid = standing?.valid ?? 0;
    node.faults = standing?.faults ?? 0;
    node.heardAt = this.#components.clock.monotonic();
    node.lastSeen = this.#components.clock.now();
    this.#nodes.set(offer.nodeId, node);
    return node;
  }

  /**
   * Nodes that an earlier run of this coordinator left online are suspect until they are seen again, here or elsewhere;
   * those that stay away become offline with whatever else that run owned.
   */
  async recover(): Promise<void> {
    const { store } = this.#components;
    for await (const nodes of this.#records.left("online")) {
      await Promise.all(nodes.map((node) => store.saveNode({ ...node, status: "suspect" })));
    }
  }

  /** Opens a session. An older one of the same node is closed with SESSION_REPLACED. */
  async join(offer: Offer, link: NodeLink): Promise<LiveNode> {
    const { store, logger } = this.#components;
    const known = this.#nodes.get(offer.nodeId);
    if (!(known && isHeld(known)) && this.#isFull()) {
      throw new ComputeError("RATE_LIMITED", `this coordinator serves ${this.#init.maxNodes} nodes already`);
    }
    const standing = await this.#records.standing(offer.nodeId, offer.wallet);
    let node = this.#nodes.get(offer.nodeId);
    if (!node) {
      node = new LiveNode(offer.nodeId, offer);
      this.#nodes.set(offer.nodeId, node);
    }
    const older = node.link;
    node.offer = offer;
    node.cap = Math.min(standing?.cap ?? 1, 2 * offer.slots);
    node.valid = standing?.valid ?? 0;
    node.faults = standing?.faults ?? 0;
    node.draining = false;
    node.welcomed = false;
    node.unknown = new Set();
    node.link = link;
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

  /** Tells the scheduler of a session that was welcomed. */
  announce(node: LiveNode): void {
    this.#listener?.onJoined(node, node.offer.runningAssignmentIds);
    node.welcomed = true;
    this.refresh(node);
  }

  /** The stream of `link` ended; leases hold for the lease time. */
  leave(node: LiveNode, link: NodeLink): void {
    if (node.link !== link) return;
    node.link = null;
    this.refresh(node);
    this.#components.logger.info({ nodeId: node.id, session: link.sessionId }, "node left");
    // It said that it leaves and holds nothing: there is nothing to wait for.
    if (node.draining && node.runs.size === 0) this.#drop(node);
    else this.#changeStatus(node, "suspect");
  }

  /** A frame arrived on the live session. */
  heard(node: LiveNode): void {
    node.heardAt = this.#components.clock.monotonic();
    node.lastSeen = this.#components.clock.now();
    this.#records.seen(node);
    if (node.status === "suspect" && node.link !== null) this.#changeStatus(node, "online");
  }

  /** Looks at a node's room again after anything that may have changed it. */
  refresh(node: LiveNode): void {
    const roomy = node.capacity > 0 && node.pausedUntil <= this.#components.clock.monotonic();
    if (roomy && node.roomIndex < 0) {
      node.roomIndex = this.#roomy.push(node) - 1;
    } else if (!roomy && node.roomIndex >= 0) {
      const last = this.#roomy.pop()!;
      if (last !== node) {
        this.#roomy[node.roomIndex] = last;
        last.roomIndex = node.roomIndex;
      }
      node.roomIndex = -1;
    }
    if (roomy) this.#listener?.onCapacity();
  }

  /**
   * A node with room that fits: `preferred` when it is one, else the freer of two random ones, so that no node gets
   * everything; one that tried before only when no other fits.
   */
  pick(fits: (node: LiveNode) => boolean, tried: ReadonlySet<Hex>, preferred?: LiveNode): LiveNode | undefined {
    if (preferred && preferred.roomIndex >= 0 && !tried.has(preferred.id) && fits(preferred)) return preferred;
    const roomy = this.#roomy;
    let best: LiveNode | undefined;
    for (let probe = 0, found = 0; probe < PROBES && found < 2 && roomy.length > 0; probe++) {
      const node = roomy[Math.floor(this.#components.random() * roomy.length)]!;
      if (tried.has(node.id) || !fits(node)) continue;
      found++;
      if (best === undefined || node.runs.size / node.offer.slots < best.runs.size / best.offer.slots) best = node;
    }
    return best ?? roomy.find((node) => !tried.has(node.id) && fits(node)) ?? roomy.find(fits);
  }

  /** Room of the whole fleet, at most `limit`. */
  freeCapacity(limit: number): number {
    let sum = 0;
    for (const node of this.#roomy) {
      sum += node.capacity;
      if (sum >= limit) return limit;
    }
    return sum;
  }

  /** A checked result: the cap doubles. */
  credit(node: LiveNode): void {
    node.valid++;
    node.failedInARow = 0;
    node.cap = Math.min(node.cap * 2, 2 * node.offer.slots);
    this.#records.earned(node);
  }

  /** A fault of the node: its cap is 1 again, and after wrong results and failures it pauses, twice as long each time. */
  blame(node: LiveNode, fault: NodeFault): void {
    node.faults++;
    node.cap = 1;
    if (fault !== "lost") {
      node.failedInARow++;
      const pause = Math.min(MAX_PAUSE_MS, 1_000 * 2 ** Math.min(node.failedInARow, 20));
      node.pausedUntil = this.#components.clock.monotonic() + pause;
    }
    this.#records.earned(node);
    this.refresh(node);
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
    return node && { freeSlots: node.capacity, running: node.runs.size, cap: node.cap, load: node.load };
  }

  /** Wallets of the nodes that could be given work, for reasons of waiting. */
  *wallets(): Iterable<Pick<Offer, "wallet" | "kinds" | "unitsPerSecond">> {
    for (const node of this.online()) yield node.offer;
  }

  /** The offline sweep. A sweep that comes late itself (a stalled process) grants nodes the same delay. */
  sweep(): void {
    const { clock } = this.#components;
    const { heartbeatMs, leaseMs } = this.#init;
    const now = clock.monotonic();
    const late = Math.max(0, now - this.#sweptAt - heartbeatMs / 2);
    this.#sweptAt = now;
    for (const node of this.#nodes.values()) {
      node.heardAt = Math.min(now, node.heardAt + late);
      const silent = now - node.heardAt;
      const grace = node.link === null ? leaseMs : SUSPECT_AFTER * heartbeatMs + leaseMs;
      if (silent > grace) this.#drop(node);
      else if (silent > SUSPECT_AFTER * heartbeatMs && node.status === "online") this.#changeStatus(node, "suspect");
      else if (node.pausedUntil > 0 && node.pausedUntil <= now) {
        node.pausedUntil = 0;
        this.refresh(node);
      }
    }
    void this.#flush();
  }

  /** It is kept in mind as long as a result of it is being judged or an end of its work written. */
  #drop(node: LiveNode): void {
    if (node.status !== "offline") {
      node.link?.close(new ComputeError("UNAVAILABLE", "no heartbeat came; dial again"));
      node.link = null;
      this.refresh(node);
      this.#components.logger.info({ nodeId: node.id }, "node offline");
      this.#changeStatus(node, "offline");
      this.#listener?.onOffline(node);
    }
    if (node.runs.size === 0) this.#nodes.delete(node.id);
  }

  #changeStatus(node: LiveNode, status: NodeStatus): void {
    this.#show(node, status);
    this.#records.changed([node]);
  }

  #show(node: LiveNode, status: NodeStatus): void {
    node.status = status;
    this.refresh(node);
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

  async #flush(): Promise<void> {
    if (this.#flushing) await this.#flushing;
    const flush = async () => {
      for (const id of await this.#records.flush()) this.#yield(id);
    };
    this.#flushing = flush().finally(() => {
      this.#flushing = undefined;
    });
    await this.#flushing;
  }

  /** The node has a newer session with another coordinator. */
  #yield(nodeId: Hex): void {
    const node = this.#nodes.get(nodeId);
    const link = node?.link;
    if (!node?.welcomed || !link) return;
    link.close(new ComputeError("SESSION_REPLACED"));
    this.leave(node, link);
  }
}

/** Whether it takes up room: it has a session, or work to come back with. Who only passed by takes none. */
function isHeld({ link, runs }: LiveNode): boolean {
  return link !== null || runs.size > 0;
}
