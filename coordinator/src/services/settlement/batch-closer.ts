import type { Logger } from "pino";
import { type Batch, buildBatch, LEAF_KINDS, limitProviders } from "../../domain/batch.ts";
import type { Receipt } from "../../domain/receipt.ts";
import type { BatchStore } from "../../ports/batches.ts";
import { BatchTooLarge, type Chain } from "../../ports/chain.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ReceiptStore, Unbatched } from "../../ports/receipts.ts";
import { abortable } from "../../util/abortable.ts";
import type { ReceiptTrees } from "./trees/pool.ts";

/** What closing batches works on. */
export interface CloserComponents {
  readonly store: Pick<ReceiptStore, "unbatched" | "unbatchedReceipts"> & Pick<BatchStore, "insertBatch">;
  readonly chain: Pick<Chain, "estimate">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly trees: Pick<ReceiptTrees, "root">;
  /** A batch was closed, included or recorded, or a reorg took it back. May come without its receiptIds. */
  readonly onChange?: (batch: Batch) => void;
}

/** When a batch closes: whatever comes first. */
export interface CloserInit {
  readonly maxReceipts: number;
  /** Also the most that one batch credits. */
  readonly maxProviders: number;
  /** Age of its oldest receipt, in milliseconds. */
  readonly maxWaitMs: number;
}

/**
 * Decides when receipts become a batch, and makes it. Receipts of a kind that has no number in this version's leaf stay
 * for a newer coordinator; all others are batched as if those were absent.
 */
export class BatchCloser {
  readonly #components: CloserComponents;
  readonly #init: CloserInit;
  /** The oldest unbatched receipt, and since when it is known, on the monotonic clock. */
  #oldest = { acceptedAt: 0, since: 0 };
  /** Unbatched receipts when their providers were last counted. */
  #counted = 0;
  /** They were as many as one batch credits; stays true until one closes. */
  #full = false;
  /** Unbatched receipts of every kind, as last counted. */
  #total = 0;
  /** How many of them were of unknown kinds when receipts were last read. */
  #unknown = 0;

  constructor(components: CloserComponents, init: CloserInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Whether receipts wait that only a newer version can batch. */
  get hasUnknownKinds(): boolean {
    return this.#unknown > 0;
  }

  /** Milliseconds until a batch closes by its age; 0 when one is due, infinite without receipts. */
  async dueIn(): Promise<number> {
    const { clock } = this.#components;
    const { maxReceipts, maxProviders, maxWaitMs } = this.#init;
    const { count, oldestAcceptedAt = clock.now() } = await this.#countKnown();
    if (count === 0) return Number.POSITIVE_INFINITY;
    if (count >= maxReceipts) return 0;
    // Counting providers reads every receipt, so it waits until there are twice as many as the last time.
    if (!this.#full && count >= maxProviders && count >= 2 * this.#counted) {
      const receipts = await this.#read(maxReceipts);
      this.#full = new Set(receipts.map(({ provider }) => provider)).size >= maxProviders;
      this.#counted = count;
    }
    if (this.#full) return 0;
    if (this.#oldest.acceptedAt !== oldestAcceptedAt) {
      this.#oldest = { acceptedAt: oldestAcceptedAt, since: clock.monotonic() };
    }
    // The monotonic clock counts too: a wall clock that was set back must not delay receipts.
    const age = Math.max(clock.now() - oldestAcceptedAt, clock.monotonic() - this.#oldest.since);
    return Math.max(0, maxWaitMs - age);
  }

  /**
   * Closes batch `id`; it must follow the last one that was read. False when there was nothing to close. Rejects with the
   * contract's refusal, and has stored nothing then.
   */
  async close(id: number, signal: AbortSignal): Promise<boolean> {
    const { store, logger } = this.#components;
    // Read after the last batch: the receipts that it carries are stamped and do not come again.
    const unbatched = await this.#read(this.#init.maxReceipts);
    if (unbatched.length === 0) return false;
    const batch = await this.#build(id, unbatched, signal);
    this.#full = false;
    this.#counted = 0;
    if (await store.insertBatch(batch)) {
      const { root, receiptIds, units } = batch;
      logger.info({ batchId: id, root, receipts: receiptIds.length, units: String(units) }, "batch closed");
      this.#components.onChange?.(batch);
    }
    // Otherwise another settlement closed one in between, and this one starts again.
    return true;
  }

  /** Counts receipts of known kinds, from counters alone as long as there are no others. */
  async #countKnown(): Promise<Unbatched> {
    const { store } = this.#components;
    const all = await store.unbatched();
    this.#total = all.count;
    if (all.count === 0) this.#unknown = 0;
    if (this.#unknown === 0) return all;
    const [oldest] = await store.unbatchedReceipts(1, LEAF_KINDS);
    if (!oldest) {
      this.#unknown = all.count;
      return { count: 0 };
    }
    return { count: Math.max(1, all.count - this.#unknown), oldestAcceptedAt: oldest.acceptedAt };
  }

  /** Reads receipts of known kinds, and learns how many others there are. */
  async #read(limit: number): Promise<readonly Receipt[]> {
    const { store } = this.#components;
    const receipts = await store.unbatchedReceipts(limit, LEAF_KINDS);
    if (receipts.length < limit) {
      // Counted before and after: what arrived or was batched in between is not of an unknown kind.
      const before = this.#total;
      const after = before > receipts.length ? (await store.unbatched()).count : 0;
      this.#unknown = Math.max(0, Math.min(before, after) - receipts.length);
    }
    return receipts;
  }

  /** The batch as it will be stored. Once stored it never changes, so the contract and the chain must take it as it is. */
  async #build(id: number, unbatched: readonly Receipt[], signal: AbortSignal): Promise<Batch> {
    const { chain, clock, trees, logger } = this.#components;
    for (let most = this.#init.maxProviders; ; ) {
      const receipts = limitProviders(unbatched, most);
      const batch = buildBatch(id, receipts, await trees.root(receipts, signal), clock.now());
      try {
        await abortable(chain.estimate(batch), signal);
        return batch;
      } catch (error) {
        const wallets = batch.credits.length;
        if (!(error instanceof BatchTooLarge) || wallets === 1) throw error;
        most = Math.floor(wallets / 2);
        logger.warn(
          { batchId: id, wallets, most, why: error.message },
          "batch too large for the chain, trying a smaller one",
        );
      }
    }
  }
}
