import type { Logger } from "pino";
import { isSameOwner, type Owner } from "../../domain/owner.ts";
import type { ClusterStore } from "../../ports/cluster.ts";

const LOCK = "settlement";

/** This coordinator, and whether another one is alive as far as it can tell. */
export interface SettlementPeers {
  readonly self: Owner;
  isAlive(owner: Owner): boolean;
}

/** What the lock uses. */
export interface SettlementLockComponents {
  readonly store: Pick<ClusterStore, "lockHolder" | "takeLock" | "releaseLock">;
  readonly peers: SettlementPeers;
  readonly logger: Logger;
}

/**
 * Elects the coordinator that records. Two would pay for transactions that the contract refuses; the lock only prevents
 * that. A leader that was paused and still believes it leads does no harm.
 */
export class SettlementLock {
  readonly #components: SettlementLockComponents;

  constructor(components: SettlementLockComponents) {
    this.#components = components;
  }

  /** Takes the lock if it is free or its holder is dead. Returns null if this coordinator leads, else the leader. */
  async take(): Promise<Owner | null> {
    const { store, peers, logger } = this.#components;
    for (;;) {
      const holder = await store.lockHolder(LOCK);
      if (isSameOwner(holder, peers.self)) return null;
      if (holder && peers.isAlive(holder)) return holder;
      // Another coordinator was quicker: look at the new holder.
      if (!(await store.takeLock(LOCK, peers.self, holder))) continue;
      logger.info({ from: holder?.coordinatorId }, "leading settlement from now on");
      return null;
    }
  }

  /** Lets another coordinator lead. Never rejects: others take a lock that was not released once its holder counts as dead. */
  async release(): Promise<void> {
    const { store, peers, logger } = this.#components;
    await store
      .releaseLock(LOCK, peers.self)
      .catch((error: unknown) => logger.debug({ err: error }, "settlement lock not released"));
  }
}
