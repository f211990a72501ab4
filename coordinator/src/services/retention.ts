import type { Logger } from "pino";
import type { Blobs } from "../ports/blobs.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";

/** Between two looks for results that are too old, in milliseconds. */
const SWEEP_MS = 60_000;

/** Results forgotten in one write. */
const BATCH = 100;

export interface RetentionComponents {
  readonly store: Pick<Store, "receiptsWithResult" | "forgetResults">;
  readonly blobs: Pick<Blobs, "delete">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Forgets results that are older than they are kept. Their receipts stay for ever with the result's digest, and whoever
 * doubts one computes the work again.
 */
export class Retention {
  readonly #components: RetentionComponents;
  readonly #retentionMs: number;
  #stopTimer: (() => void) | undefined;
  #sweeping: Promise<void> | undefined;

  /** `retentionMs` counts from when a result was accepted. */
  constructor(components: RetentionComponents, { retentionMs }: { readonly retentionMs: number }) {
    this.#components = components;
    this.#retentionMs = retentionMs;
  }

  start(): void {
    this.#stopTimer ??= this.#components.clock.every(SWEEP_MS, () => void this.sweep());
    void this.sweep();
  }

  /** Lets the sweep under way end after its present write. */
  async stop(): Promise<void> {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    await this.#sweeping;
  }

  /** Forgets everything that is due; what goes wrong is logged and tried again with the next sweep. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  async #sweep(): Promise<void> {
    const { store, blobs, clock, logger } = this.#components;
    const before = clock.now() - this.#retentionMs;
    try {
      for (let forgotten = BATCH; forgotten === BATCH && this.#stopTimer; ) {
        const receipts = await store.receiptsWithResult(before, BATCH);
        forgotten = receipts.length;
        if (forgotten === 0) return;
        // The blobs first: when this ends half-way, the next sweep finds the same receipts again.
        for (const { resultDigest } of receipts) await blobs.delete(resultDigest);
        await store.forgetResults(receipts);
        logger.info({ results: forgotten }, "forgot old results");
      }
    } catch (error) {
      logger.warn({ err: error }, "old results could not be forgotten; trying again");
    }
  }
}
