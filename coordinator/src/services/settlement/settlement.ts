import type { Address } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import type { Batch, BatchState } from "../../domain/batch.ts";
import { ComputeError } from "../../domain/errors.ts";
import type { Owner } from "../../domain/owner.ts";
import type { BatchStore } from "../../ports/batches.ts";
import { type BlockTag, type Chain, ContractRefusal, type SentTransaction } from "../../ports/chain.ts";
import { abortable } from "../../util/abortable.ts";
import { sleep } from "../../util/sleep.ts";
import { BatchCloser, type CloserComponents, type CloserInit } from "./batch-closer.ts";
import { type BindableStore, type BindInit, bindStore } from "./bind.ts";
import { type ChainProgress, readChainProgress } from "./chain-progress.ts";
import {
  FAILURES_OF_A_LEADER,
  IDENTIFY_MS,
  IDLE_POLLS,
  LATE_AFTER,
  LOW_BALANCE_BATCHES,
  MAX_PAUSE_MS,
} from "./limits.ts";
import { SettlementLock, type SettlementLockComponents } from "./lock.ts";
import type { SettlementState, SettlementStatus } from "./status.ts";

/** What settlement uses. */
export interface SettlementComponents extends CloserComponents, SettlementLockComponents {
  readonly store: CloserComponents["store"] &
    SettlementLockComponents["store"] &
    BindableStore &
    Pick<BatchStore, "updateBatch">;
  readonly chain: Chain;
}

/** When batches close, and how often settlement polls the chain. */
export interface SettlementInit extends CloserInit, BindInit {
  /** Milliseconds between polls of the chain while a batch is not recorded. */
  readonly pollMs: number;
  /** Milliseconds after which a transaction that is not included is replaced. */
  readonly resendMs: number;
}

/** Settlement waits until the contract's owner or the operator acts, and then continues. */
class NotRecorder extends Error {
  override readonly name = "NotRecorder";

  constructor(recorder: Address) {
    super(`${recorder} is not the contract's recorder: its owner calls setRecorder, or the key here has to change`);
  }
}

/**
 * Records receipts on the chain, each exactly once. Two rules ensure that, without a lease or memory: a stored batch never
 * changes, and a batch is recorded when the contract holds its root at the finalized block. Each step is decided from the
 * present state of store and chain, so a batch that a crash, a reorg or a wiped local chain undid is sent again.
 */
export class Settlement {
  readonly #components: SettlementComponents;
  readonly #init: SettlementInit;
  readonly #log: Logger;
  readonly #closer: BatchCloser;
  readonly #lock: SettlementLock;
  #status: SettlementStatus;
  #abort = new AbortController();
  #loop: Promise<void> | undefined;
  /** Ends the pause of an idle settlement. */
  #idle: AbortController | undefined;
  /** The last sent transaction, until its batch is included. */
  #inFlight: { readonly batchId: number; readonly sent: SentTransaction; readonly at: number } | undefined;
  #identifiedAt = Number.NEGATIVE_INFINITY;
  /** Set while the recorder's balance is low. */
  #balanceWarning: string | undefined;
  /** The oldest batch that is not recorded, and since when it has been, on the monotonic clock. */
  #oldest: { readonly id: number; readonly since: number } | undefined;

  constructor(components: SettlementComponents, init: SettlementInit) {
    this.#components = components;
    this.#init = init;
    this.#log = components.logger;
    this.#closer = new BatchCloser(components, init);
    this.#lock = new SettlementLock(components);
    const { chainId, contract } = components.chain;
    this.#status = { state: "waiting", reason: "the chain has not been asked yet", chainId, contract, openBatches: 0 };
  }

  /** Binds the store to the contract and starts. Throws STORE_BOUND_ELSEWHERE. */
  async start(): Promise<void> {
    if (this.#loop) return;
    await bindStore(this.#components, this.#init);
    this.#abort = new AbortController();
    this.#loop = this.#run(this.#abort.signal);
  }

  /** Stops after the present step. The next start continues from the state of store and chain. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
    this.#loop = undefined;
  }

  status(): SettlementStatus {
    return this.#status;
  }

  /** Tells an idle settlement that a receipt was stored. Cheap. */
  nudge(): void {
    this.#idle?.abort();
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted && this.#status.state !== "stopped") {
      let pause: number;
      try {
        pause = await this.#step(signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        await this.#fail(error, signal);
        pause = Math.min(this.#init.pollMs * 2 ** failures++, Math.max(MAX_PAUSE_MS, this.#init.pollMs));
        if (failures % FAILURES_OF_A_LEADER === 0) await this.#lock.release();
      }
      if (pause > 0 && !signal.aborted) await this.#sleep(pause, signal);
    }
    await this.#lock.release();
  }

  /** Compares chain and store and acts on the difference. Returns the pause before the next step, in milliseconds. */
  async #step(signal: AbortSignal): Promise<number> {
    const { chain, store } = this.#components;
    const leader = await abortable(this.#lock.take(), signal);
    if (leader) return this.#standBy(leader);
    await this.#identify(signal);
    // Ask the chain first: every batch that it holds was stored before it was sent.
    const next = await abortable(chain.nextBatchId("latest"), signal);
    const before = await readChainProgress(store, next);
    this.#update({ openBatches: before.open.length, lastRecorded: before.recorded?.id });
    const view = { ...before, open: await this.#compare(before, next, signal) };
    let progress: boolean;
    let dueIn: number;
    try {
      progress = await this.#send(view, next, signal);
      dueIn = await this.#closer.dueIn();
      // Only when the head holds all earlier batches, because the contract has to accept the new one.
      if (dueIn === 0 && view.lastId < next) progress = await this.#closer.close(view.lastId + 1, signal);
    } finally {
      // A batch that cannot be sent must not keep others from becoming recorded.
      await this.#finalize(view, next, signal);
    }
    this.#set("running", this.#lateness(view) ?? this.#balanceWarning ?? this.#kindWarning());
    if (progress) return 0;
    const { pollMs } = this.#init;
    if (this.#status.openBatches > 0 || dueIn === 0) return pollMs;
    return dueIn === Number.POSITIVE_INFINITY ? IDLE_POLLS * pollMs : Math.min(pollMs, dueIn);
  }

  /** Another coordinator leads: this one only reads the progress from the store. */
  async #standBy(leader: Owner): Promise<number> {
    const { open, recorded } = await readChainProgress(this.#components.store, Number.POSITIVE_INFINITY);
    this.#inFlight = undefined;
    this.#oldest = undefined;
    this.#identifiedAt = Number.NEGATIVE_INFINITY;
    const unknown = { recorder: undefined, recorderBalance: undefined };
    this.#update({ openBatches: open.length, lastRecorded: recorded?.id, ...unknown });
    this.#set("standby", `${leader.coordinatorId} records`);
    return IDLE_POLLS * this.#init.pollMs;
  }

  /** Compares roots at the head: marks included batches, sets lost ones back, and stops if the chain contradicts the store. */
  async #compare({ open, recorded, lastId }: ChainProgress, next: number, signal: AbortSignal): Promise<Batch[]> {
    if (next > lastId + 1) throw stopped(`the chain holds batch ${next - 1}, which the store lacks`);
    if (recorded?.id === next - 1) await this.#holds(recorded, "latest", signal);
    const compared: Batch[] = [];
    for (const batch of open) {
      // The chain's next id was read before the store, so another leader may have changed the batch since.
      const mayHold = batch.id < next || batch.state !== "closed";
      const included = mayHold && (await this.#holds(batch, "latest", signal));
      let state = batch.state;
      if (included && batch.state === "closed") state = "included";
      if (!included && batch.state !== "closed") {
        // Throws if the RPC serves another chain now.
        await this.#identify(signal, 0);
        this.#log.warn({ batchId: batch.id, was: batch.state }, "batch dropped by a reorg; sending it again");
        if (this.#inFlight?.batchId === batch.id) this.#inFlight = undefined;
        state = "closed";
      }
      if (state !== batch.state) await this.#move(batch, state, signal);
      compared.push({ ...batch, state });
    }
    return compared;
  }

  /** Sends the batches that the chain lacks, in order, each once the head holds the previous one. */
  async #send({ open }: ChainProgress, next: number, signal: AbortSignal): Promise<boolean> {
    const { chain, clock, store } = this.#components;
    let progress = false;
    for (const batch of open) {
      if (batch.id < next || batch.state !== "closed") continue;
      const before = this.#inFlight?.batchId === batch.id ? this.#inFlight : undefined;
      if (before && clock.monotonic() - before.at < this.#init.resendMs) break;
      const sent = await abortable(chain.send(batch, before?.sent), signal);
      this.#inFlight = { batchId: batch.id, sent, at: clock.monotonic() };
      this.#identifiedAt = Number.NEGATIVE_INFINITY;
      this.#log.info({ batchId: batch.id, transaction: sent.hash, again: before !== undefined }, "batch sent");
      await store.updateBatch(batch.id, { state: "closed", transaction: sent.hash }, "closed");
      if (!(await this.#holds(batch, "latest", signal))) break;
      progress = true;
    }
    return progress;
  }

  /** Marks the batches that the finalized block holds as recorded. */
  async #finalize({ open }: ChainProgress, next: number, signal: AbortSignal): Promise<void> {
    const candidates = open.filter(({ id }) => id < next);
    if (candidates.length === 0) return;
    const final = await abortable(this.#components.chain.nextBatchId("finalized"), signal);
    for (const batch of candidates) {
      if (batch.id >= final || !(await this.#holds(batch, "finalized", signal))) break;
      if (!(await this.#move(batch, "recorded", signal))) break;
      this.#update({ lastRecorded: batch.id, openBatches: this.#status.openBatches - 1 });
    }
  }

  /** Whether the contract holds the batch. Throws, and settlement stops, if it holds another root. */
  async #holds(batch: Batch, at: BlockTag, signal: AbortSignal): Promise<boolean> {
    const root = await abortable(this.#components.chain.rootOf(batch.id, at), signal);
    if (root === null) return false;
    if (root === batch.root) return true;
    throw stopped(`batch ${batch.id} has the root ${root} on the chain and ${batch.root} in the store`);
  }

  /** Stores and reports a new state. False when another leader has changed the batch, which knows better. */
  async #move(batch: Batch, state: BatchState, signal: AbortSignal): Promise<boolean> {
    const { chain, store } = this.#components;
    // Only people use it: an RPC without logs must not stop settlement.
    const found = state === "closed" ? null : chain.recording(batch.id).catch(() => null);
    const recording = await abortable(Promise.resolve(found), signal);
    const change = { state, ...recording };
    if (!(await store.updateBatch(batch.id, change, batch.state))) return false;
    this.#log.info({ batchId: batch.id, ...change }, "batch state changed");
    this.#components.onChange?.({ ...batch, ...change });
    return true;
  }

  /** The warning for a batch that is not recorded in time. */
  #lateness({ open: [first] }: ChainProgress): string | undefined {
    const now = this.#components.clock.monotonic();
    if (first?.id !== this.#oldest?.id) this.#oldest = first && { id: first.id, since: now };
    if (!first || now - this.#oldest!.since < LATE_AFTER * this.#init.resendMs) return undefined;
    return first.state === "closed"
      ? `batch ${first.id} was sent, but no block takes it: the chain stands still, or the RPC loses transactions`
      : `a block holds batch ${first.id}, but none that is final: finality lags behind`;
  }

  /** The warning for receipts that this version cannot batch. */
  #kindWarning(): string | undefined {
    if (!this.#closer.hasUnknownKinds) return undefined;
    return "receipts of a kind that this version does not know wait for a newer coordinator to record them";
  }

  /** Reads chain id, role and balance, unless they were read less than `maxAgeMs` ago. */
  async #identify(signal: AbortSignal, maxAgeMs = IDENTIFY_MS): Promise<void> {
    const { chain, clock } = this.#components;
    if (clock.monotonic() - this.#identifiedAt < maxAgeMs) return;
    const { recorder, isRecorder, balance } = await abortable(chain.identify(), signal);
    this.#identifiedAt = clock.monotonic();
    this.#update({ recorder, recorderBalance: balance });
    if (!isRecorder) throw new NotRecorder(recorder);
    const poor = balance < LOW_BALANCE_BATCHES * (this.#inFlight?.sent.maxCost ?? 0n);
    this.#balanceWarning = poor
      ? `${recorder} can pay for fewer than ${LOW_BALANCE_BATCHES} more batches: send it coins`
      : undefined;
  }

  /** Pauses; a receipt ends the pause of an idle settlement. */
  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const isIdle = ms > this.#init.pollMs && this.#status.state === "running";
    this.#idle = isIdle ? new AbortController() : undefined;
    const wake = this.#idle ? AbortSignal.any([signal, this.#idle.signal]) : signal;
    await sleep(this.#components.clock, ms, wake);
    this.#idle = undefined;
  }

  async #fail(error: unknown, signal: AbortSignal): Promise<void> {
    // After any failure, check chain, role and balance first.
    this.#identifiedAt = Number.NEGATIVE_INFINITY;
    // Another leader sent the batch, or a reorg dropped the previous one: the next step shows which.
    if (error instanceof ContractRefusal && error.error === "BatchOutOfOrder") return;
    // Another coordinator may have the recorder's key.
    if (error instanceof NotRecorder) await this.#lock.release();
    const contradicts = error instanceof ComputeError && error.code === "SETTLEMENT_STOPPED";
    if (!contradicts) return this.#set("waiting", messageOf(error), error);
    // Only the chain that the store belongs to can contradict it.
    const elsewhere = await abortable(this.#components.chain.identify(), signal).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    if (elsewhere === undefined) this.#set("stopped", messageOf(error), error);
    else if (!signal.aborted) this.#set("waiting", messageOf(elsewhere), elsewhere);
  }

  #update(change: Partial<SettlementStatus>): void {
    this.#status = { ...this.#status, ...change };
  }

  /** Sets the state and its reason, and logs each change once. */
  #set(state: SettlementState, reason?: string, error?: unknown): void {
    const before = this.#status;
    if (before.state === state && before.reason === reason) return;
    this.#update({ state, reason });
    if (state === "standby") this.#log.info({ reason }, "settlement on standby");
    else if (state === "running" && reason === undefined) this.#log.info("settlement running");
    else if (state === "running") this.#log.warn({ reason }, "settlement running with a warning");
    else if (state === "stopped") this.#log.error({ reason }, "settlement stopped: an operator has to act");
    else if (error instanceof ComputeError) this.#log.warn({ reason }, "settlement waiting");
    else this.#log.error({ reason, err: error }, "settlement waiting");
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function stopped(reason: string): ComputeError {
  return new ComputeError("SETTLEMENT_STOPPED", `${reason}: see npm run reconcile`);
}
