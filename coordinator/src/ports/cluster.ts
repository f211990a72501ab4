import type { Address } from "@proof-of-compute/proto";
import type { CoordinatorRecord, Owner } from "../domain/owner.ts";

/** What the coordinators of one network share: the contract that the store is bound to, secrets, their records, locks. */
export interface ClusterStore {
  /**
   * Binds the store to one contract at the first call; later calls only compare. Throws STORE_BOUND_ELSEWHERE for another
   * contract, unless `rebind`.
   */
  bind(contract: { readonly chainId: number; readonly address: Address }, rebind: boolean): Promise<void>;
  /** The contract that the store is bound to, or null before the first {@link bind}. */
  boundTo(): Promise<{ readonly chainId: number; readonly address: Address } | null>;
  /** 32 random bytes under a name, drawn at the first call, then the same for every coordinator. Never logged. */
  secret(name: string): Promise<Uint8Array>;

  /** Stores a coordinator's record, in place of that of an earlier run of the same name. */
  register(coordinator: CoordinatorRecord): Promise<void>;
  /** Increments the coordinator's `beat`. False when the record is missing or another run's. */
  beat(owner: Owner): Promise<boolean>;
  /** Removes the coordinator's record, unless another run has replaced it. */
  deregister(owner: Owner): Promise<void>;
  /** By id. */
  coordinators(): Promise<CoordinatorRecord[]>;

  /**
   * The holder of a named lock, or null. A lock saves work and guarantees nothing: its holder may be paused and resume.
   */
  lockHolder(name: string): Promise<Owner | null>;
  /** Takes a lock from its holder `from` (null: nobody); false when `from` no longer holds it. */
  takeLock(name: string, owner: Owner, from: Owner | null): Promise<boolean>;
  /** Releases the lock, if `owner` still holds it. */
  releaseLock(name: string, owner: Owner): Promise<void>;
}
