import type { Address } from "@proof-of-compute/proto";
import type { CoordinatorRecord, Owner } from "../domain/owner.ts";

/** What the coordinators of one network share: the contract that the store is bound to, secrets, who they are, locks. */
export interface ClusterStore {
  /**
   * Binds the store to one contract, at first use; later only compares. Throws STORE_BOUND_ELSEWHERE for another pair
   * unless `rebind`.
   */
  bind(contract: { readonly chainId: number; readonly address: Address }, rebind: boolean): Promise<void>;
  /** The contract that the store is bound to, or null before its first use with one. */
  boundTo(): Promise<{ readonly chainId: number; readonly address: Address } | null>;
  /** 32 random bytes under a name, drawn at first use and the same for every coordinator from then on. Never logged. */
  secret(name: string): Promise<Uint8Array>;

  /** Makes a coordinator known to its peers, in the place of an earlier run of the same name. */
  register(coordinator: CoordinatorRecord): Promise<void>;
  /** A sign of life: its `beat` grows. False when another run has the name now, or nobody. */
  beat(owner: Owner): Promise<boolean>;
  /** Removes the coordinator, if that run still has the name. */
  deregister(owner: Owner): Promise<void>;
  /** By id. */
  coordinators(): Promise<CoordinatorRecord[]>;

  /** Who holds a named lock, or null. A lock is an economy, never a guarantee: its holder may be paused and come back. */
  lockHolder(name: string): Promise<Owner | null>;
  /** Takes a lock that `from` holds (null: nobody); false when that is not so any more. */
  takeLock(name: string, owner: Owner, from: Owner | null): Promise<boolean>;
  /** Gives the lock back, if `owner` still holds it. */
  releaseLock(name: string, owner: Owner): Promise<void>;
}
