import { type ChainLedger, readChainLedger, timeOf } from "@proof-of-compute/coordinator/commands/reconcile/chain";
import { fix } from "@proof-of-compute/coordinator/commands/reconcile/fix";
import {
  compare,
  newestRecorded,
  type Report,
  type Verdict,
} from "@proof-of-compute/coordinator/commands/reconcile/report";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import { readChainProgress } from "@proof-of-compute/coordinator/services/settlement/chain-progress";
import type { Address } from "@proof-of-compute/proto";
import { expect, vi } from "vitest";
import type { Settling } from "./settling.ts";

export const WAIT = { timeout: 60_000, interval: 50 };

/** Runs the parts of `npm run reconcile`, and knows what every wallet must have, whatever a store has lost. */
export class BothSides {
  readonly owed = new Map<Address, bigint>();
  readonly #it: Settling;

  constructor(it: Settling) {
    this.#it = it;
  }

  /** Verified work that must be paid once. */
  async verify(...task: Parameters<Settling["verify"]>): Promise<Receipt[]> {
    const receipts = await this.#it.verify(...task);
    for (const receipt of receipts) this.owe(receipt);
    return receipts;
  }

  owe({ provider, units }: Pick<Receipt, "provider" | "units">): void {
    this.owed.set(provider, (this.owed.get(provider) ?? 0n) + units);
  }

  async expectPaidOnce(): Promise<void> {
    for (const [wallet, units] of this.owed) {
      expect(await this.#it.ethers.computeUnits(wallet), wallet).toBe(units);
    }
  }

  /** Runs a settlement until it has recorded everything. */
  async recordAll(store: Store = this.#it.store): Promise<void> {
    const settlement = this.#it.make(this.#it.ethers, store);
    await settlement.start();
    await vi.waitFor(async () => {
      expect((await store.unbatched()).count).toBe(0);
      expect((await readChainProgress(store, Number.POSITIVE_INFINITY)).open).toEqual([]);
      expect(settlement.status().state).toBe("running");
    }, WAIT);
    await settlement.stop();
  }

  /** Starts settlement, and returns why it stops. */
  async refused(): Promise<string> {
    const settlement = await this.#it.settle();
    await vi.waitFor(() => expect(settlement.status().state).toBe("stopped"), WAIT);
    return settlement.status().reason!;
  }

  ledger(): Promise<ChainLedger> {
    return readChainLedger(this.#it.chain.provider, { contract: this.#it.contract, fromBlock: 0 });
  }

  async report(store: Store = this.#it.store): Promise<Report> {
    return compare(store, await this.ledger(), await newestRecorded(store));
  }

  async verdicts(): Promise<Verdict[]> {
    return (await this.report()).batches.map(({ verdict }) => verdict);
  }

  async mend(store: Store = this.#it.store): Promise<void> {
    const components = {
      store,
      timeOf: (block: number) => timeOf(this.#it.chain.provider, block),
      say: () => undefined,
    };
    await fix(components, { clockMarginMs: 60_000 }, await this.ledger());
  }

  async inQuarantine(): Promise<readonly Receipt[]> {
    return (await this.#it.store.receipts({ limit: 100, quarantined: true })).items;
  }
}
