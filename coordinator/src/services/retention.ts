import type { Logger } from "pino";
import type { Blobs } from "../ports/blobs.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { logFailure } from "../util/log-failure.ts";

/** Between two looks for what is too old, in milliseconds; jittered by a half so that coordinators do not meet. */
const SWEEP_MS = 60_000;

/** Results forgotten in one write; each may have a blob to delete before. */
const RESULTS = 100;

/** Tasks or nodes removed in one write. */
const DOCUMENTS = 500;

/** Between two writes, in milliseconds, so that those who are at work get their turn in between. */
const PAUSE_MS = 20;

/** A node that was away for so long without ever having earned anything is not coming back. */
const IDLE_NODE_MS = 30 * 86_400_000;

export interface RetentionComponents {
  readonly store: Pick<Store, "receiptsWithResult" | "forgetResults" | "pruneTasks" | "pruneNodes">;
  readonly blobs: Pick<Blobs, "delete">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1. */
  readonly random: () => number;
}

export interface RetentionInit {
  /** How long results are kept, in milliseconds from when they were accepted. */
  readonly retentionMs: number;
  /** How long finished tasks are kept, in milliseconds from their end; never shorter than their results are. */
  readonly taskRetentionMs: number;
}

/**
 * Forgets results, then finished tasks, that are older than they are kept, and nodes that never earned. Receipts stay for
 * ever with the result's digest, and whoever doubts one computes the work again. Every coordinator does it: each step may
 * be repeated, by another one at the same time too.
 *
 * A forgotten receipt takes the blob of its digest with it, without a look at who else has that digest: a result depends
 * on its assignment id through the seed, so no two receipts have the same one.
 */
export class Retention {
  readonly #components: RetentionComponents;
  readonly #init: RetentionInit;
  #stopped: AbortController | undefined;
  #stopTimer: (() => void) | undefined;
  #sweeping: Promise<void> | undefined;

  constructor(components: RetentionComponents, init: RetentionInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Safe to repeat. */
  start(): void {
    if (this.#stopped) return;
    this.#stopped = new AbortController();
    this.#schedule();
    void this.sweep();
  }

  /** Lets the sweep under way end after its present write. Safe to repeat. */
  async stop(): Promise<void> {
    this.#stopTimer?.();
    this.#stopped?.abort();
    this.#stopped = undefined;
    await this.#sweeping;
  }

  /** Forgets everything that is due; what goes wrong is logged and tried again with the next sweep. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  #schedule(): void {
    const { clock, random } = this.#components;
    this.#stopTimer = clock.after(SWEEP_MS * (0.5 + random()), () => {
      this.#schedule();
      void this.sweep();
    });
  }

  async #sweep(): Promise<void> {
    const { store, clock, logger } = this.#components;
    const { retentionMs, taskRetentionMs } = this.#init;
    const now = clock.now();
    const tasksBefore = now - Math.max(retentionMs, taskRetentionMs);
    try {
      const results = await this.#repeat(RESULTS, (limit) => this.#forgetResults(now - retentionMs, limit));
      const tasks = await this.#repeat(DOCUMENTS, (limit) => store.pruneTasks(tasksBefore, limit));
      const nodes = await this.#repeat(DOCUMENTS, (limit) => store.pruneNodes(now - IDLE_NODE_MS, limit));
      if (results + tasks + nodes > 0) logger.info({ results, tasks, nodes }, "forgot what is old");
    } catch (error) {
      logFailure(logger, error, "what is old could not be forgotten; trying again");
    }
  }

  async #forgetResults(before: number, limit: number): Promise<number> {
    const { store, blobs } = this.#components;
    const receipts = await store.receiptsWithResult(before, limit);
    // The blobs first: when this ends half-way, the next sweep finds the same receipts again.
    for (const { resultDigest } of receipts) await blobs.delete(resultDigest);
    if (receipts.length > 0) await store.forgetResults(receipts);
    return receipts.length;
  }

  /** Does `step` until it finds less than `limit`; how much that was altogether. */
  async #repeat(limit: number, step: (limit: number) => Promise<number>): Promise<number> {
    let total = 0;
    while (this.#stopped) {
      const done = await step(limit);
      total += done;
      if (done < limit) break;
      await this.#pause();
    }
    return total;
  }

  /** Ends early when the service stops. */
  #pause(): Promise<void> {
    const signal = this.#stopped?.signal;
    return new Promise((resolve) => {
      if (!signal || signal.aborted) return resolve();
      const end = () => {
        cancel();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const cancel = this.#components.clock.after(PAUSE_MS, end);
      signal.addEventListener("abort", end);
    });
  }
}
