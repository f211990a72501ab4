import { randomBytes } from "node:crypto";
import type { Address } from "@proof-of-compute/proto";
import { ComputeError } from "../../domain/errors.ts";
import { type CoordinatorRecord, isSameOwner, type Owner } from "../../domain/owner.ts";

/** The coordinators' part of the model: contract, records, locks and secrets. */
export class MemoryCluster {
  #open = false;
  #contract: { readonly chainId: number; readonly address: Address } | null = null;
  readonly #secrets = new Map<string, Uint8Array>();
  readonly #coordinators = new Map<string, CoordinatorRecord>();
  readonly #locks = new Map<string, Owner>();

  async start(): Promise<void> {
    this.#open = true;
  }

  async stop(): Promise<void> {
    this.#open = false;
  }

  async bind(contract: { readonly chainId: number; readonly address: Address }, rebind: boolean): Promise<void> {
    this.check();
    const { chainId, address } = this.#contract ?? contract;
    if ((chainId !== contract.chainId || address !== contract.address) && !rebind) {
      throw new ComputeError("STORE_BOUND_ELSEWHERE");
    }
    this.#contract = contract;
  }

  async boundTo(): Promise<{ readonly chainId: number; readonly address: Address } | null> {
    this.check();
    return this.#contract;
  }

  async secret(name: string): Promise<Uint8Array> {
    this.check();
    const secret = this.#secrets.get(name) ?? new Uint8Array(randomBytes(32));
    this.#secrets.set(name, secret);
    return secret;
  }

  async register(coordinator: CoordinatorRecord): Promise<void> {
    this.check();
    this.#coordinators.set(coordinator.coordinatorId, coordinator);
  }

  async beat(owner: Owner): Promise<boolean> {
    this.check();
    const known = this.#coordinators.get(owner.coordinatorId);
    if (!known || !isSameOwner(known, owner)) return false;
    this.#coordinators.set(owner.coordinatorId, { ...known, beat: known.beat + 1 });
    return true;
  }

  async deregister(owner: Owner): Promise<void> {
    this.check();
    if (isSameOwner(this.#coordinators.get(owner.coordinatorId), owner)) this.#coordinators.delete(owner.coordinatorId);
  }

  async coordinators(): Promise<CoordinatorRecord[]> {
    this.check();
    return [...this.#coordinators.values()].sort((a, b) => (a.coordinatorId < b.coordinatorId ? -1 : 1));
  }

  async lockHolder(name: string): Promise<Owner | null> {
    this.check();
    return this.#locks.get(name) ?? null;
  }

  async takeLock(name: string, owner: Owner, from: Owner | null): Promise<boolean> {
    this.check();
    if (!isSameOwner(this.#locks.get(name), from)) return false;
    this.#locks.set(name, owner);
    return true;
  }

  async releaseLock(name: string, owner: Owner): Promise<void> {
    this.check();
    if (isSameOwner(this.#locks.get(name), owner)) this.#locks.delete(name);
  }

  protected check(): void {
    if (!this.#open) throw new ComputeError("UNAVAILABLE", "the store is not open");
  }
}
