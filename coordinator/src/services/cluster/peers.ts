import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import { type CoordinatorRecord, isSameOwner, type Owner } from "../../domain/owner.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ClusterStore } from "../../ports/cluster.ts";
import { sleep } from "../../util/sleep.ts";
import type { Metrics } from "../metrics.ts";
import { BEATS_PER_LEASE, FORGET_MS } from "./limits.ts";

export interface PeersComponents {
  readonly store: Pick<ClusterStore, "register" | "beat" | "deregister" | "coordinators">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, "peers">;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface PeersInit {
  readonly self: Owner;
  readonly version: string;
  readonly startedAt: number;
  /** A coordinator whose beat stands still for longer than this is lost, in milliseconds. */
  readonly leaseMs: number;
}

export interface PeersListener {
  /** A coordinator joined or was lost. */
  changed(): void;
  /** This coordinator gave no sign of life for longer than a lease: the others may have taken over what it held. */
  missed(): void;
}

interface Peer {
  record: CoordinatorRecord;
  /** Monotonic, of this observer: when the beat was first seen as it is. */
  since: number;
}

/**
 * Which coordinators live. Each lets its `beat` grow in the store; a coordinator whose beat stands still for a lease time, on
 * the observer's own monotonic clock, is lost. No wall clocks are compared, and a wrong judgement does no harm: a coordinator
 * that is taken for dead and is not finds its writes refused.
 */
export class Peers {
  readonly #components: PeersComponents;
  readonly #init: PeersInit;
  readonly #beatMs: number;
  /** Resolves when another process has taken this coordinator's name: this one must end. */
  readonly replaced: Promise<ComputeError>;
  #replace: (error: ComputeError) => void = () => {};
  #address = "";
  readonly #peers = new Map<string, Peer>();
  #alive: readonly CoordinatorRecord[] = [];
  #listener: PeersListener | undefined;
  readonly #stopping = new AbortController();
  #beating: Promise<void> | undefined;
  #isStoreAway = false;
  /** Monotonic: the last sign of life that the store took, and the last look at the others. */
  #beatAt = 0;
  #lookedAt = 0;

  constructor(components: PeersComponents, init: PeersInit) {
    this.#components = components;
    this.#init = init;
    this.#beatMs = init.leaseMs / BEATS_PER_LEASE;
    this.replaced = new Promise((resolve) => {
      this.#replace = resolve;
    });
  }

  /**
   * Registers this coordinator, and looks for the others, each of which counts as alive at first. `address` is the URL at
   * which they reach this one.
   */
  async start(address: string): Promise<void> {
    const { clock } = this.#components;
    await this.moveTo(address);
    this.#beatAt = clock.monotonic();
    this.#lookedAt = clock.monotonic();
    await this.look();
    this.#beating = this.#keepBeating();
  }

  listen(listener: PeersListener): void {
    this.#listener = listener;
  }

  /** Looks at the others now; the listener hears when one joined or was lost. */
  async look(): Promise<void> {
    const { store, clock, logger, metrics } = this.#components;
    const records = await store.coordinators();
    const now = clock.monotonic();
    // A look that comes late (a stalled process, a store that was away) says nothing about the time in between.
    const blind = Math.max(0, now - this.#lookedAt - 2 * this.#beatMs);
    this.#lookedAt = now;
    const names = new Set(records.map(({ coordinatorId }) => coordinatorId));
    for (const name of this.#peers.keys()) if (!names.has(name)) this.#peers.delete(name);
    for (const record of records) {
      if (record.coordinatorId === this.self.coordinatorId) continue;
      const peer = this.#peers.get(record.coordinatorId);
      const moved = !peer || !isSameOwner(peer.record, record) || peer.record.beat !== record.beat;
      this.#peers.set(record.coordinatorId, { record, since: moved ? now : Math.min(now, peer.since + blind) });
    }
    const before = this.#alive;
    this.#alive = [...this.#peers.values()]
      .filter(({ since }) => now - since <= this.#init.leaseMs)
      .map(({ record }) => record);
    metrics.peers.set(this.#alive.length);
    const joined = this.#alive.filter((record) => !before.some((other) => isSameOwner(other, record)));
    const lost = before.filter((record) => !this.#alive.some((other) => isSameOwner(other, record)));
    for (const { coordinatorId, address } of joined) logger.info({ coordinatorId, address }, "peer coordinator joined");
    for (const { coordinatorId } of lost) logger.warn({ coordinatorId }, "peer coordinator lost");
    if (joined.length > 0 || lost.length > 0) this.#listener?.changed();
    for (const { record, since } of this.#peers.values()) {
      if (now - since > FORGET_MS) await store.deregister(record);
    }
  }

  /** Registers this coordinator under another address. */
  async moveTo(address: string): Promise<void> {
    this.#address = address;
    await this.#register();
  }

  /** Deregisters, so that the others take over at once, not after a lease time. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#beating;
    const { store, logger } = this.#components;
    await store.deregister(this.self).catch((error: unknown) => {
      logger.warn({ err: error }, "not deregistered: the peers wait a lease time before they take over");
    });
  }

  get self(): Owner {
    return this.#init.self;
  }

  /** Whether that run of that coordinator lives, as far as known here. */
  isAlive(owner: Owner): boolean {
    return isSameOwner(owner, this.self) || this.#alive.some((record) => isSameOwner(record, owner));
  }

  /** Every live coordinator, this one first. */
  alive(): readonly Owner[] {
    return [this.self, ...this.#alive];
  }

  /** The other live coordinators. */
  others(): readonly CoordinatorRecord[] {
    return this.#alive;
  }

  /** URL of another live coordinator; undefined for this one and for a lost one. */
  addressOf(owner: Owner): string | undefined {
    return this.#alive.find((record) => isSameOwner(record, owner))?.address;
  }

  async #register(): Promise<void> {
    const { self, version, startedAt } = this.#init;
    await this.#components.store.register({ ...self, beat: 0, address: this.#address, version, startedAt });
  }

  async #keepBeating(): Promise<void> {
    const { clock, random } = this.#components;
    const { signal } = this.#stopping;
    for (;;) {
      await sleep(clock, this.#beatMs * (0.75 + random() / 2), signal);
      if (signal.aborted) return;
      await this.#beat().catch((error: unknown) => this.#warn(error));
    }
  }

  /** Warns once that the store is away; other failures that this causes are logged for debugging only. */
  #warn(error: unknown): void {
    const { logger } = this.#components;
    const message = "the store is away: nodes stay connected, and work goes on once it is back";
    logger[this.#isStoreAway ? "debug" : "warn"]({ err: error }, message);
    this.#isStoreAway = true;
  }

  async #beat(): Promise<void> {
    const { store, clock, logger } = this.#components;
    const beatAt = clock.monotonic();
    const kept = await store.beat(this.self);
    const silent = clock.monotonic() - this.#beatAt;
    await this.look();
    if (this.#isStoreAway) logger.info({ awayMs: Math.round(silent) }, "the store is back");
    this.#isStoreAway = false;
    if (!kept) await this.#reclaim();
    // Not reached when something failed: then the next beat counts the silence from where this one did.
    this.#beatAt = beatAt;
    if (silent > this.#init.leaseMs) this.#listener?.missed();
  }

  /** The name belongs to nobody (a restored database) or to another process (the same COORDINATOR_ID twice). */
  async #reclaim(): Promise<void> {
    const { coordinatorId } = this.self;
    const known = await this.#components.store.coordinators();
    if (!known.some((record) => record.coordinatorId === coordinatorId)) {
      await this.#register();
      this.#listener?.missed();
      return;
    }
    this.#stopping.abort();
    const detail = `another coordinator has started with COORDINATOR_ID ${coordinatorId}; each needs its own`;
    this.#replace(new ComputeError("UNAVAILABLE", detail));
  }
}
