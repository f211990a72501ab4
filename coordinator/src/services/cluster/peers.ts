import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import { type CoordinatorRecord, isSameOwner, type Owner } from "../../domain/owner.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Store } from "../../ports/store.ts";
import type { Metrics } from "../metrics.ts";

/** Signs of life in a lease time: one may be late, or lost, without anybody noticing. */
const BEATS_PER_LEASE = 6;

/** The record of a coordinator that has been gone for so long is of no more use to anybody. */
const FORGET_MS = 3_600_000;

export interface PeersComponents {
  readonly store: Pick<Store, "register" | "beat" | "deregister" | "coordinators">;
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
  /** A coordinator whose beat stands still for so long is gone, in milliseconds. */
  readonly leaseMs: number;
}

/** Who listens. */
export interface PeersListener {
  /** A coordinator came, or one is gone. */
  changed(): void;
  /** This one gave no sign of life for longer than a lease: the others may have taken over what it held. */
  missed(): void;
}

interface Peer {
  record: CoordinatorRecord;
  /** Monotonic, of this observer: when the beat was first seen as it is. */
  since: number;
}

/**
 * Which coordinators live. Each lets its `beat` grow in the store; whose beat stands still for a lease time, on the
 * observer's own monotonic clock, is gone. No wall clocks are compared, and nothing rests on the judgement but how soon
 * work goes on: whoever is taken for dead and is not, finds its writes refused.
 */
export class Peers {
  readonly #components: PeersComponents;
  readonly #init: PeersInit;
  readonly #beatMs: number;
  /** Resolves when another process has taken this one's name: this one must end. */
  readonly replaced: Promise<ComputeError>;
  #replace: (error: ComputeError) => void = () => {};
  #address = "";
  readonly #peers = new Map<string, Peer>();
  #alive: readonly CoordinatorRecord[] = [];
  #listener: PeersListener | undefined;
  #stopTimer: (() => void) | undefined;
  #turn: Promise<void> | undefined;
  #stopping = false;
  #away = false;
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
   * Makes this coordinator known, and looks who else is there: each of them counts as alive at first. `address` is the URL
   * at which they reach this one.
   */
  async start(address: string): Promise<void> {
    const { clock } = this.#components;
    await this.moveTo(address);
    this.#beatAt = clock.monotonic();
    this.#lookedAt = clock.monotonic();
    await this.look();
    this.#schedule();
  }

  /** Tells `listener` from now on. */
  listen(listener: PeersListener): void {
    this.#listener = listener;
  }

  /** Looks at the others now, and tells when one came or is gone. */
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
    const came = this.#alive.filter((record) => !before.some((other) => isSameOwner(other, record)));
    const gone = before.filter((record) => !this.#alive.some((other) => isSameOwner(other, record)));
    for (const { coordinatorId, address } of came) logger.info({ coordinatorId, address }, "peer coordinator joined");
    for (const { coordinatorId } of gone) logger.warn({ coordinatorId }, "peer coordinator lost");
    if (came.length > 0 || gone.length > 0) this.#listener?.changed();
    for (const { record, since } of this.#peers.values()) {
      if (now - since > FORGET_MS) await store.deregister(record);
    }
  }

  /** Makes this coordinator known under another address. */
  async moveTo(address: string): Promise<void> {
    this.#address = address;
    await this.#register();
  }

  /** The others need not wait for a lease time to go on with what it held. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#stopTimer?.();
    await this.#turn;
    this.#stopTimer?.();
    const { store, logger } = this.#components;
    await store.deregister(this.self).catch((error: unknown) => {
      logger.warn({ err: error }, "this coordinator stays known to the others for a lease time");
    });
  }

  get self(): Owner {
    return this.#init.self;
  }

  /** Whether that run of that coordinator lives, as far as can be seen from here. */
  isAlive(owner: Owner): boolean {
    return isSameOwner(owner, this.self) || this.#alive.some((record) => isSameOwner(record, owner));
  }

  /** Every coordinator that lives, this one first. */
  alive(): readonly Owner[] {
    return [this.self, ...this.#alive];
  }

  /** The other coordinators that live. */
  others(): readonly CoordinatorRecord[] {
    return this.#alive;
  }

  /** Where another coordinator that lives is reached; undefined for this one and for one that is gone. */
  addressOf(owner: Owner): string | undefined {
    return this.#alive.find((record) => isSameOwner(record, owner))?.address;
  }

  async #register(): Promise<void> {
    const { self, version, startedAt } = this.#init;
    await this.#components.store.register({ ...self, beat: 0, address: this.#address, version, startedAt });
  }

  #schedule(): void {
    if (this.#stopping) return;
    const wait = this.#beatMs * (0.75 + this.#components.random() / 2);
    this.#stopTimer = this.#components.clock.after(wait, () => {
      this.#turn = this.#step()
        .catch((error: unknown) => this.#miss(error))
        .finally(() => this.#schedule());
    });
  }

  /** Says once that the store is away; whatever else fails because of that goes without saying. */
  #miss(error: unknown): void {
    const { logger } = this.#components;
    const message = "the store is away: nodes stay connected, and work goes on once it is back";
    logger[this.#away ? "debug" : "warn"]({ err: error }, message);
    this.#away = true;
  }

  async #step(): Promise<void> {
    const { store, clock, logger } = this.#components;
    const beatAt = clock.monotonic();
    const kept = await store.beat(this.self);
    const silent = clock.monotonic() - this.#beatAt;
    await this.look();
    if (this.#away) logger.info({ awayMs: Math.round(silent) }, "the store is back");
    this.#away = false;
    if (!kept) await this.#reclaim();
    // Whatever fails before, the next step counts the silence from where this one did.
    this.#beatAt = beatAt;
    if (silent > this.#init.leaseMs) this.#listener?.missed();
  }

  /** The name is nobody's (a database that was restored) or another's (the same COORDINATOR_ID twice). */
  async #reclaim(): Promise<void> {
    const { coordinatorId } = this.self;
    const known = await this.#components.store.coordinators();
    if (!known.some((record) => record.coordinatorId === coordinatorId)) {
      await this.#register();
      this.#listener?.missed();
      return;
    }
    this.#stopping = true;
    const detail = `another coordinator has started with COORDINATOR_ID ${coordinatorId}; each needs its own`;
    this.#replace(new ComputeError("UNAVAILABLE", detail));
  }
}
