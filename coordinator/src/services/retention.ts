import type { Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { type Blobs, type StoredBlob, YOUNG_BLOB_MS } from "../ports/blobs.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import { logFailure } from "../util/log-failure.ts";
import { sleep } from "../util/sleep.ts";

/** Between two sweeps, in milliseconds; jittered by a half so that coordinators rarely sweep at once. */
const SWEEP_MS = 60_000;

/** Results forgotten in one write. */
const RESULTS = 100;

/** Tasks or nodes removed in one write. */
const DOCUMENTS = 500;

/** Blobs that one sweep compares with the receipts, beside those of the results that it forgot. */
const INSPECTED = 500;

/** Between two writes, in milliseconds, so that the requests of others run in between. */
const PAUSE_MS = 20;

/** A node that stays away this long and never earned anything is not coming back, in milliseconds. */
const IDLE_NODE_MS = 30 * 86_400_000;

export interface RetentionComponents {
  readonly store: Pick<Store, "receiptsWithResult" | "forgetResults" | "referredDigests" | "pruneTasks" | "pruneNodes">;
  readonly blobs: Pick<Blobs, "find" | "list" | "delete">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1. */
  readonly random: () => number;
}

export interface RetentionInit {
  /** How long results are kept, in milliseconds from their acceptance. */
  readonly retentionMs: number;
  /** How long finished tasks are kept, in milliseconds from their end; their results' time at least. */
  readonly taskRetentionMs: number;
}

/**
 * Forgets expired results, then expired tasks, and nodes that never earned. Receipts stay for ever with the result's
 * digest, and whoever doubts one computes the work again. Every coordinator sweeps: each step may be repeated, by another
 * coordinator at the same time too.
 *
 * A blob is deleted once no receipt refers to its digest and nobody put it for {@link YOUNG_BLOB_MS}. A receipt is written
 * soon after its blob was put, so a blob without a receipt may be young, and an old one was left by a crash. Sweeps walk
 * through all blobs, a page at a time, to find those (docs/adr/blob-references.md).
 */
export class Retention {
  readonly #components: RetentionComponents;
  readonly #init: RetentionInit;
  /** Up to where the blobs were inspected in this round; undefined at the start of a round. */
  #inspected: Hex | undefined;
  #stopped: AbortController | undefined;
  #stopTimer: (() => void) | undefined;
  #sweeping: Promise<void> | undefined;

  constructor(components: RetentionComponents, init: RetentionInit) {
    this.#components = components;
    this.#init = init;
    // A coordinator that restarts often inspects all of them too.
    this.#inspected = `0x${Math.floor(components.random() * 256)
      .toString(16)
      .padStart(2, "0")
      .repeat(32)}`;
  }

  /** Safe to repeat. */
  start(): void {
    if (this.#stopped) return;
    this.#stopped = new AbortController();
    this.#schedule();
    void this.sweep();
  }

  /** Ends the present sweep after its current write. Safe to repeat. */
  async stop(): Promise<void> {
    this.#stopTimer?.();
    this.#stopped?.abort();
    this.#stopped = undefined;
    await this.#sweeping;
  }

  /** Forgets everything that is due; a failure is logged, and the next sweep tries again. */
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
      const orphans = this.#stopped ? await this.#deleteOrphans() : 0;
      if (results + tasks + nodes + orphans > 0) logger.info({ results, tasks, nodes, orphans }, "pruned expired data");
    } catch (error) {
      logFailure(logger, error, "could not prune expired data; trying again");
    }
  }

  async #forgetResults(before: number, limit: number): Promise<number> {
    const { store, blobs } = this.#components;
    const receipts = await store.receiptsWithResult(before, limit);
    if (receipts.length === 0) return 0;
    // First of all, so that of two coordinators that forget equal results at once the last one finds no receipt. A blob
    // that a crash leaves here is an orphan.
    await store.forgetResults(receipts);
    const found = await blobs.find([...new Set(receipts.map(({ resultDigest }) => resultDigest))]);
    // The earlier versions, which noted no time, never put a blob again that had a receipt.
    await this.#deleteUnreferred(found.filter(({ ageMs }) => ageMs === undefined || ageMs >= YOUNG_BLOB_MS));
    return receipts.length;
  }

  /** Inspects the next blobs, and deletes those that no receipt refers to, nor will; returns how many. */
  async #deleteOrphans(): Promise<number> {
    const after = this.#inspected;
    const found = await this.#components.blobs.list({ ...(after !== undefined && { after }), limit: INSPECTED });
    const deleted = await this.#deleteUnreferred(
      found.filter(({ ageMs }) => ageMs !== undefined && ageMs >= YOUNG_BLOB_MS),
    );
    this.#inspected = found.length < INSPECTED ? undefined : found.at(-1)!.sha256;
    return deleted;
  }

  /** The blobs are old, and were found before it is read which of them receipts refer to. */
  async #deleteUnreferred(old: readonly StoredBlob[]): Promise<number> {
    const { store, blobs } = this.#components;
    if (old.length === 0) return 0;
    const referred = new Set(await store.referredDigests(old.map(({ sha256 }) => sha256)));
    let deleted = 0;
    for (const blob of old) {
      if (!referred.has(blob.sha256) && (await blobs.delete(blob))) deleted++;
    }
    return deleted;
  }

  /** Repeats `step` until it finds less than `limit`; returns the sum. */
  async #repeat(limit: number, step: (limit: number) => Promise<number>): Promise<number> {
    let total = 0;
    while (this.#stopped) {
      const done = await step(limit);
      total += done;
      if (done < limit) break;
      // The step may have outlived the service.
      if (this.#stopped) await sleep(this.#components.clock, PAUSE_MS, this.#stopped.signal);
    }
    return total;
  }
}
