import type { Address } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import type { Batch, BatchState } from "../domain/batch.ts";
import { ComputeError } from "../domain/errors.ts";
import { type BlockTag, ContractRefusal, type SentTransaction } from "../ports/chain.ts";
import { abortable } from "./abortable.ts";
import { BatchCloser, type CloserComponents, type CloserInit } from "./batch-closer.ts";

/** The chain whose state is gone when it stops: a store may be bound to one of its contracts after the other. */
const LOCAL_CHAIN_ID = 31337;
/** Failures in a row lengthen the pause up to this, in milliseconds. */
const MAX_PAUSE_MS = 30_000;
/** Polls between looks at the chain while nothing waits; a receipt ends that at once. */
const IDLE_POLLS = 10;
/** How often the recorder's role and balance are read at least, in milliseconds; also after each batch. */
const IDENTIFY_MS = 60_000;
/** Batches that the recorder must be able to pay for, below which the log warns. */
const LOW_BALANCE_BATCHES = 10n;
/** Batches read at a time on the way down to the newest recorded one. */
const PAGE = 100;

/**
 * - `off`: no chain is configured; receipts accumulate.
 * - `running`: batches close and go out as they fall due; a `reason` then warns that the recorder runs low.
 * - `waiting`: something outside is in the way, as `reason` says; it goes on by itself.
 * - `stopped`: the chain contradicts the store or the recorder lost its role; somebody has to look.
 */
export type SettlementState = "off" | "running" | "waiting" | "stopped";

/** How recording goes. */
export interface SettlementStatus {
  readonly state: SettlementState;
  readonly reason?: string | undefined;
  readonly chainId?: number | undefined;
  readonly contract?: Address | undefined;
  readonly recorder?: Address | undefined;
  /** In wei. */
  readonly recorderBalance?: bigint | undefined;
  /** Closed batches that are not recorded yet. */
  readonly openBatches: number;
  /** Id of the newest recorded batch. */
  readonly lastRecorded?: number | undefined;
}

export type SettlementComponents = CloserComponents;

/** When batches close, and how often the chain is looked at. */
export interface SettlementInit extends CloserInit {
  /** Milliseconds between looks at the chain while something is on its way. */
  readonly pollMs: number;
  /** A transaction that is not included after so many milliseconds is replaced. */
  readonly resendMs: number;
  /** Accept a store that belongs to another contract. */
  readonly rebind?: boolean;
}

/** Where the store stands towards the chain. */
interface View {
  /** Batches that are not recorded, or are and lie at or above the chain's next id; in order of id. */
  readonly open: readonly Batch[];
  /** The newest recorded batch that the chain counts too. */
  readonly recorded: Batch | undefined;
  readonly lastId: number;
}

/**
 * Brings receipts to the chain, each exactly once. Two rules carry that, and no lease or memory: a batch never changes once
 * it is stored, and it is recorded when the contract holds its root at the finalized block. Every step is decided from what
 * the store and the chain say now; whatever a crash, a reorg or a wiped local chain took back is simply sent again.
 */
export class Settlement {
  readonly #components: SettlementComponents;
  readonly #init: SettlementInit;
  readonly #log: Logger;
  readonly #closer: BatchCloser;
  #status: SettlementStatus;
  #abort = new AbortController();
  #loop: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  /** The one transaction on its way. */
  #inFlight: { readonly batchId: number; readonly sent: SentTransaction; readonly at: number } | undefined;
  #identifiedAt = Number.NEGATIVE_INFINITY;
  /** What somebody should do soon although settlement runs. */
  #warning: string | undefined;

  constructor(components: SettlementComponents, init: SettlementInit) {
    this.#components = components;
    this.#init = init;
    this.#log = components.logger;
    this.#closer = new BatchCloser(components, init);
    const { chainId, contract } = components.chain;
    this.#status = { state: "waiting", reason: "the chain was not asked yet", chainId, contract, openBatches: 0 };
  }

  /** Binds the store to the contract and begins. Throws STORE_BOUND_ELSEWHERE. */
  async start(): Promise<void> {
    if (this.#loop) return;
    const { chainId, contract } = this.#components.chain;
    const rebind = this.#init.rebind === true || chainId === LOCAL_CHAIN_ID;
    await this.#components.store.bind({ chainId, address: contract }, rebind);
    this.#abort = new AbortController();
    this.#loop = this.#run(this.#abort.signal);
  }

  /** Ends at the next step. What was under way is picked up by the next start. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
    this.#loop = undefined;
  }

  status(): SettlementStatus {
    return this.#status;
  }

  /** A receipt came in: an idle settlement looks after it. Cheap. */
  nudge(): void {
    this.#wake?.();
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted && this.#status.state !== "stopped") {
      let pause: number;
      try {
        pause = await this.#step(signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        this.#fail(error);
        pause = Math.min(this.#init.pollMs * 2 ** failures++, Math.max(MAX_PAUSE_MS, this.#init.pollMs));
      }
      if (pause > 0 && !signal.aborted) await this.#sleep(pause, signal);
    }
  }

  /** One look at chain and store, and what follows from it. Returns how long to wait before the next. */
  async #step(signal: AbortSignal): Promise<number> {
    const { chain } = this.#components;
    await this.#identify(signal);
    // The chain first: whatever it holds by then was in the store before it was sent.
    const next = await abortable(chain.nextBatchId("latest"), signal);
    const view = await this.#view(next);
    this.#update({ openBatches: view.open.length, lastRecorded: view.recorded?.id });
    await this.#compare(view, next, signal);
    let progress = await this.#send(view, next, signal);
    const dueIn = await this.#closer.dueIn();
    // Only when the head holds all before it, because the contract is asked whether it would take the new one.
    if (dueIn === 0 && view.lastId < next) progress = await this.#closer.close(view.lastId + 1, signal);
    // Last, so that an RPC that cannot tell what is final does not keep batches from going out.
    await this.#finalize(view, next, signal);
    this.#set("running", this.#warning);
    if (progress) return 0;
    const { pollMs } = this.#init;
    if (this.#status.openBatches > 0 || dueIn === 0) return pollMs;
    return dueIn === Number.POSITIVE_INFINITY ? IDLE_POLLS * pollMs : Math.min(pollMs, dueIn);
  }

  async #view(next: number): Promise<View> {
    const open: Batch[] = [];
    let recorded: Batch | undefined;
    let cursor: string | undefined;
    do {
      const page = await this.#components.store.batches({ limit: PAGE, ...(cursor !== undefined && { cursor }) });
      for (const batch of page.items) {
        if (batch.state === "recorded" && batch.id < next) {
          recorded = batch;
          break;
        }
        open.unshift(batch);
      }
      cursor = recorded ? undefined : page.cursor;
    } while (cursor !== undefined);
    return { open, recorded, lastId: open.at(-1)?.id ?? recorded?.id ?? 0 };
  }

  /** Compares roots at the head: marks what it includes, takes back what it lost, and stops at what contradicts the store. */
  async #compare({ open, recorded, lastId }: View, next: number, signal: AbortSignal): Promise<void> {
    if (next > lastId + 1) throw stopped(`the chain holds batch ${next - 1}, which the store lacks`);
    if (recorded?.id === next - 1) await this.#holds(recorded, "latest", signal);
    for (const batch of open) {
      const included = batch.id < next && (await this.#holds(batch, "latest", signal));
      if (included && batch.state === "closed") await this.#move(batch, "included", signal);
      if (!included && batch.state !== "closed") {
        this.#log.warn({ batchId: batch.id, was: batch.state }, "the chain took a batch back; it will be sent again");
        if (this.#inFlight?.batchId === batch.id) this.#inFlight = undefined;
        await this.#move(batch, "closed", signal);
      }
    }
  }

  /** Sends what the chain lacks, in order, the next one only when the head holds the one before. */
  async #send({ open }: View, next: number, signal: AbortSignal): Promise<boolean> {
    const { chain, clock, store } = this.#components;
    let progress = false;
    for (const batch of open) {
      if (batch.id < next) continue;
      const before = this.#inFlight?.batchId === batch.id ? this.#inFlight : undefined;
      if (before && clock.monotonic() - before.at < this.#init.resendMs) break;
      const sent = await abortable(chain.send(batch, before?.sent), signal);
      this.#inFlight = { batchId: batch.id, sent, at: clock.monotonic() };
      this.#identifiedAt = Number.NEGATIVE_INFINITY;
      this.#log.info({ batchId: batch.id, transaction: sent.hash, again: before !== undefined }, "sent a batch");
      await store.updateBatch(batch.id, { state: "closed", transaction: sent.hash });
      if (!(await this.#holds(batch, "latest", signal))) break;
      progress = true;
    }
    return progress;
  }

  /** Marks what the finalized block holds. */
  async #finalize({ open }: View, next: number, signal: AbortSignal): Promise<void> {
    const candidates = open.filter(({ id }) => id < next);
    if (candidates.length === 0) return;
    const final = await abortable(this.#components.chain.nextBatchId("finalized"), signal);
    for (const batch of candidates) {
      if (batch.id >= final || !(await this.#holds(batch, "finalized", signal))) break;
      await this.#move(batch, "recorded", signal);
      this.#update({ lastRecorded: batch.id, openBatches: this.#status.openBatches - 1 });
    }
  }

  /** Whether the contract holds the batch; another root in its place stops settlement. */
  async #holds(batch: Batch, at: BlockTag, signal: AbortSignal): Promise<boolean> {
    const root = await abortable(this.#components.chain.rootOf(batch.id, at), signal);
    if (root === null) return false;
    if (root === batch.root) return true;
    throw stopped(`batch ${batch.id} has the root ${root} on the chain and ${batch.root} in the store`);
  }

  async #move(batch: Batch, state: BatchState, signal: AbortSignal): Promise<void> {
    const { chain, store } = this.#components;
    // For people only: an RPC that serves no logs must not be in the way.
    const found = state === "closed" ? null : chain.recording(batch.id).catch(() => null);
    const recording = await abortable(Promise.resolve(found), signal);
    const change = { state, ...recording };
    await store.updateBatch(batch.id, change);
    this.#log.info({ batchId: batch.id, ...change }, "a batch moved on");
    this.#components.onChange?.({ ...batch, ...change });
  }

  /** Reads role and balance now and then. */
  async #identify(signal: AbortSignal): Promise<void> {
    const { chain, clock } = this.#components;
    if (clock.monotonic() - this.#identifiedAt < IDENTIFY_MS) return;
    const { recorder, isRecorder, balance } = await abortable(chain.identify(), signal);
    this.#identifiedAt = clock.monotonic();
    this.#update({ recorder, recorderBalance: balance });
    if (!isRecorder) throw stopped(`${recorder} is not the contract's recorder; its owner calls setRecorder`);
    const poor = balance < LOW_BALANCE_BATCHES * (this.#inFlight?.sent.maxCost ?? 0n);
    this.#warning = poor
      ? `${recorder} can pay for fewer than ${LOW_BALANCE_BATCHES} more batches: send it coins`
      : undefined;
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        signal.removeEventListener("abort", end);
        this.#wake = undefined;
        resolve();
      };
      const cancel = this.#components.clock.after(ms, end);
      signal.addEventListener("abort", end, { once: true });
      if (ms > this.#init.pollMs && this.#status.state === "running") this.#wake = end;
    });
  }

  #fail(error: unknown): void {
    const refused = error instanceof ContractRefusal ? error.error : undefined;
    // Somebody sent the batch meanwhile, or a reorg took the one before it back: the next look tells.
    if (refused === "BatchOutOfOrder") return;
    const reason = error instanceof Error ? error.message : String(error);
    const final = refused === "NotRecorder" || (error instanceof ComputeError && error.code === "SETTLEMENT_STOPPED");
    this.#set(final ? "stopped" : "waiting", reason, error);
  }

  #update(change: Partial<SettlementStatus>): void {
    this.#status = { ...this.#status, ...change };
  }

  /** Says once what changed. */
  #set(state: SettlementState, reason?: string, error?: unknown): void {
    const before = this.#status;
    if (before.state === state && before.reason === reason) return;
    this.#update({ state, reason });
    if (state === "running" && reason === undefined) this.#log.info("settlement runs");
    else if (state === "running") this.#log.warn({ reason }, "settlement runs, but not for long");
    else if (state === "stopped") this.#log.error({ reason }, "settlement stopped: somebody has to look");
    else if (error instanceof ComputeError) this.#log.warn({ reason }, "settlement waits");
    else this.#log.error({ reason, err: error }, "settlement waits");
  }
}

function stopped(reason: string): ComputeError {
  return new ComputeError("SETTLEMENT_STOPPED", reason);
}
