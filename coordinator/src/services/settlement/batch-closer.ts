import type { Logger } from "pino";
import { type Batch, buildBatch, LEAF_KINDS, limitProviders } from "../../domain/batch.ts";
import type { Receipt } from "../../domain/receipt.ts";
import type { BatchStore } from "../../ports/batches.ts";
import { BatchTooLarge, type Chain } from "../../ports/chain.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ReceiptStore, Unbatched } from "../../ports/receipts.ts";
import { abortable } from "../../util/abortable.ts";
import type { ReceiptTrees } from "./trees/pool.ts";

/** What the closer uses. */
export interface CloserComponents {
  readonly store: Pick<ReceiptStore, "unbatched" | "unbatchedReceipts"> & Pick<BatchStore, "insertBatch">;
  readonly chain: Pick<Chain, "estimate">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly trees: Pick<ReceiptTrees, "root">;
  /** Called when a batch was closed, included, recorded or dropped by a reorg; `receiptIds` may be empty. */
  readonly onChange?: (batch: Batch) => void;
}

/** Limits of a batch; the first that is reached closes it. */
export interface CloserInit {
  readonly maxReceipts: number;
  /** Also the most wallets that one batch credits. */
  readonly maxProviders: number;
  /** The greatest age of its oldest receipt, in milliseconds. */
  readonly maxWaitMs: number;
}

/**
 * Decides when to close a batch, and closes it. Receipts of a kind without a number in this version's leaf are left to a
 * newer coordinator; all others are batched as if those were absent.
 */
export class BatchCloser {
  readonly #components: CloserComponents;
  readonly #init: CloserInit;
  /** The oldest unbatched receipt, and when it was first seen, on the monotonic clock. */
  #oldest = { acceptedAt: 0, since: 0 };
  /** The number of unbatched receipts when their providers were last counted. */
  #counted = 0;
  /** Whether the providers fill a batch; stays true until one closes. */
  #full = false;
  /** The last count of unbatched receipts, of all kinds. */
  #total = 0;
  /** How many of them were of unknown kinds when the receipts were last read. */
  #unknown = 0;

  constructor(components: CloserComponents, init: CloserInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Whether receipts wait that only a newer version can batch. */
  get hasUnknownKinds(): boolean {
    return this.#unknown > 0;
  }

  /** Milliseconds until a batch is due by its age; 0 when one is due, infinite without receipts. */
  async dueIn(): Promise<number> {
    const { clock } = this.#components;
    const { maxReceipts, maxProviders, maxWaitMs } = this.#init;
    const { count, oldestAcceptedAt = clock.now() } = await this.#countKnown();
    if (count === 0) return Number.POSITIVE_INFINITY;
    if (count >= maxReceipts) return 0;
    // Counting providers reads every receipt, so count again only when the receipts have doubled.
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
   * Closes batch `id`, which must follow the last batch. False when there is nothing to close. Rejects with the contract's
   * refusal, and stores nothing then.
   */
  async close(id: number, signal: AbortSignal): Promise<boolean> {
    const { store, logger } = this.#components;
    // Read after the last batch was read, so that its receipts are stamped and not read again.
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
    // Otherwise another leader closed a batch in between, and the next step starts again.
    return true;
  }

  /** Counts receipts of known kinds. Reads counters only, unless there are receipts of unknown kinds. */
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

  /** Reads receipts of known kinds, and counts the others. */
  async #read(limit: number): Promise<readonly Receipt[]> {
    const { store } = this.#components;
    const receipts = await store.unbatchedReceipts(limit, LEAF_KINDS);
    if (receipts.length < limit) {
      // The smaller of two counts: receipts that arrived or were batched in between are not of unknown kinds.
      const before = this.#total;
      const after = before > receipts.length ? (await store.unbatched()).count : 0;
      this.#unknown = Math.max(0, Math.min(before, after) - receipts.length);
    }
    return receipts;
  }

  /** Builds the batch. A stored batch never changes, so the contract and the chain must accept this one. */
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
