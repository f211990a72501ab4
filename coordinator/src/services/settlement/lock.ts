import type { Logger } from "pino";
import { isSameOwner, type Owner } from "../../domain/owner.ts";
import type { ClusterStore } from "../../ports/cluster.ts";

const LOCK = "settlement";

/** Who this coordinator is, and whether another one lives as far as it can tell. */
export interface SettlementPeers {
  readonly self: Owner;
  isAlive(owner: Owner): boolean;
}

/** What it takes to agree on a leader. */
export interface SettlementLockComponents {
  readonly store: Pick<ClusterStore, "lockHolder" | "takeLock" | "releaseLock">;
  readonly peers: SettlementPeers;
  readonly logger: Logger;
}

/**
 * Which coordinator records. One is enough, and two would pay for transactions that the contract refuses; that is all the
 * lock is for. Who was paused and still believes to lead does no harm.
 */
export class SettlementLock {
  readonly #components: SettlementLockComponents;

  constructor(components: SettlementLockComponents) {
    this.#components = components;
  }

  /** Null when this coordinator leads: the lock is its own, was free, or was a dead one's. Else who leads. */
  async take(): Promise<Owner | null> {
    const { store, peers, logger } = this.#components;
    for (;;) {
      const holder = await store.lockHolder(LOCK);
      if (isSameOwner(holder, peers.self)) return null;
      if (holder && peers.isAlive(holder)) return holder;
      // Whoever is quicker holds it now, and is asked about next.
      if (!(await store.takeLock(LOCK, peers.self, holder))) continue;
      logger.info({ from: holder?.coordinatorId }, "leading settlement from now on");
      return null;
    }
  }

  /** Lets another lead. Never rejects: a lock that nobody can give back is taken once its holder counts as dead. */
  async release(): Promise<void> {
    const { store, peers, logger } = this.#components;
    await store
      .releaseLock(LOCK, peers.self)
      .catch((error: unknown) => logger.debug({ err: error }, "settlement lock not released"));
  }
}
