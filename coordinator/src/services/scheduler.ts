import { type Address, addressBytes, fromHex, type Hex, matmulUnits, toHex } from "@proof-of-compute/proto";
import { TaskSpec } from "@proof-of-compute/proto/task";
import type { Logger } from "pino";
import { v7 as uuidv7 } from "uuid";
import { ComputeError } from "../domain/errors.ts";
import type { Receipt } from "../domain/receipt.ts";
import {
  accept,
  assign,
  cancel,
  type Ending,
  endAssignment,
  expire,
  isFinal,
  liveAssignment,
  type Task,
} from "../domain/task.ts";
import type { Metrics } from "../metrics.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { Fleet, FleetListener } from "./fleet.ts";
import { isFastEnough, type LiveNode, type Run } from "./live-node.ts";
import { matmulOf } from "./matmul-spec.ts";
import type { TaskEvents } from "./task-events.ts";

/** Queued tasks read at once. */
const PAGE = 256;
/** Queued tasks looked at for one round of assignments when those in front fit no node. */
const LOOK_AHEAD = 2_048;
/** First and longest wait before a task is tried again. */
const RETRY_MS = { first: 250, longest: 30_000 };
/** Wait before a write is tried again while the store is away. */
const RETRY_STORE_MS = 1_000;
/** Tasks of at most so many units take milliseconds: to carry each by itself would cost more than to compute it. */
const TINY_UNITS = 64n;
/** Writes of one task that may collide before the caller hears of it. */
const COLLISIONS = 5;

export interface SchedulerComponents {
  readonly store: Store;
  readonly fleet: Fleet;
  readonly events: TaskEvents;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random: () => number;
}

export interface SchedulerInit {
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly maxAttempts: number;
  readonly maxQueued: number;
  readonly allowSelfTasks: boolean;
  /** Stands in every spec; undefined: settlement is off. */
  readonly contract: { readonly chainId: number; readonly address: Address } | undefined;
}

/** What a requester asks for. */
export interface TaskRequest {
  readonly requester: Address;
  readonly spec: { readonly kind: "matmul"; readonly n: number; readonly k: number };
  /** The task's deadline, in milliseconds from now. */
  readonly deadlineMs: number;
  /** Given by an Idempotency-Key; else a new UUIDv7. */
  readonly id?: Hex;
  readonly requestDigest?: Hex;
}

/**
 * Gives tasks to nodes and follows each attempt to its end. Every change of a task is one guarded write of its document;
 * the memory here is only who runs what, and is made again from the store and the nodes' Hellos after a restart.
 */
export class Scheduler implements FleetListener {
  readonly #components: SchedulerComponents;
  readonly #init: SchedulerInit;
  /** By assignment id. */
  readonly #runs = new Map<Hex, Run>();
  readonly #byTask = new Map<Hex, Run>();
  /** Tasks that are being written right now, so that a filling round leaves them alone. */
  readonly #busy = new Set<Hex>();
  /** The node that was given a tiny task in this turn. */
  #bundling: LiveNode | undefined;
  #queued = 0;
  #filling = false;
  #fillAgain = false;
  #draining = false;
  #stops: (() => void)[] = [];
  #wake: { readonly at: number; readonly stop: () => void } | undefined;

  constructor(components: SchedulerComponents, init: SchedulerInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Takes up what an earlier process left: live assignments get the lease time for their nodes to come back. */
  async start(): Promise<void> {
    const { store, clock, logger } = this.#components;
    this.#queued = (await store.totals()).tasks.queued;
    const live = await store.liveTasks();
    for (const task of live) await this.#recover(task);
    if (live.length > 0 || this.#queued > 0) {
      logger.info({ running: live.length, queued: this.#queued }, "tasks taken up");
    }
    this.#stops = [
      clock.every(this.#init.heartbeatMs / 2, () => this.#withdrawSilent()),
      clock.every(1_000, () => void this.#expireOverdue()),
    ];
    this.room();
  }

  stop(): void {
    this.#draining = true;
    for (const stop of this.#stops.splice(0)) stop();
    this.#wake?.stop();
    this.#wake = undefined;
  }

  /** No new leases and no new tasks from now on. */
  drain(): void {
    this.#draining = true;
  }

  /** Stores a task; when a node fits, the same write leases it. With a taken id the stored task comes back. */
  async submit(request: TaskRequest): Promise<{ task: Task; created: boolean }> {
    const { clock, store, events, metrics } = this.#components;
    if (this.#draining) throw new ComputeError("DRAINING");
    const now = clock.now();
    const deadline = now + request.deadlineMs;
    let task: Task = {
      id: request.id ?? newId(),
      version: 1,
      requester: request.requester,
      kind: request.spec.kind,
      spec: this.#encodeSpec(request, deadline),
      state: "queued",
      createdAt: now,
      deadline,
      notBefore: now,
      attempts: 0,
      assignments: {},
      ...(request.requestDigest && { requestDigest: request.requestDigest }),
    };
    const node = this.#queued === 0 ? this.#pick(task, request.spec) : undefined;
    if (node === undefined && this.#queued >= this.#init.maxQueued) {
      const stored = request.id && (await store.task(request.id));
      if (stored) return { task: stored, created: false };
      throw new ComputeError("QUEUE_FULL", `${this.#queued} tasks wait already`);
    }
    const run = node && this.#reserve(node, task);
    if (run) task = { ...run.task, version: 1 };
    let outcome: { task: Task; created: boolean };
    try {
      outcome = await store.insertTask(task);
    } catch (error) {
      if (run) this.#forget(run);
      throw error;
    }
    if (!outcome.created) {
      if (run) this.#forget(run);
      return outcome;
    }
    metrics.tasksSubmitted.inc();
    if (run) this.#push(run, task);
    else {
      this.#queued++;
      this.room();
    }
    events.publish(task.id);
    return outcome;
  }

  /** Cancels a task of any state that is not final. A running one ends once its node said that it stopped. */
  async cancel(taskId: Hex): Promise<Task> {
    const before = await this.#read(taskId);
    if (before.state === "cancelling" || before.state === "cancelled") return before;
    const task = await this.#update(taskId, cancel);
    const run = this.#byTask.get(taskId);
    if (run && task.state === "cancelling") run.node.link?.cancel(run.assignment.id, "REQUESTED");
    return task;
  }

  /** The live assignment of that id at that node, or undefined when it has ended or is another's. */
  run(assignmentId: Hex, node: LiveNode): Run | undefined {
    const run = this.#runs.get(assignmentId);
    return run?.node === node ? run : undefined;
  }

  /** The node said how far it is; its first word accepts the assignment. */
  advance(run: Run, fraction: number): void {
    if (run.phase === "sent") run.phase = "running";
    run.movedAt = this.#components.clock.monotonic();
    const progress = Math.min(1, Math.max(run.progress, fraction));
    if (progress === run.progress && run.progress > 0) return;
    run.progress = progress;
    this.#components.events.publish(run.task.id);
  }

  /** The result is here: its slot is free, its lease holds until the verdict. */
  checking(run: Run): void {
    run.phase = "checking";
    run.progress = 1;
    run.node.checking++;
    this.#components.fleet.refresh(run.node);
  }

  /** A checked result: verdict, transition and receipt in one durable write. Throws CONFLICT when the run has ended. */
  async complete(run: Run, receipt: Receipt, output: Uint8Array | undefined): Promise<void> {
    await this.#update(run.task.id, (task) => accept(task, receipt), {
      receipt,
      ...(output && { output }),
    });
    this.#forget(run);
    this.#components.metrics.assignmentsEnded.inc({ state: "accepted" });
    this.#components.fleet.credit(run.node);
    this.#components.fleet.refresh(run.node);
  }

  /** An attempt that ended without a receipt; the task is queued again, fails for good, or is cancelled. */
  async end(run: Run, state: Ending["state"], reason: string): Promise<void> {
    const { clock, metrics, logger, random } = this.#components;
    if (!this.#runs.has(run.assignment.id)) return;
    const at = clock.now();
    const tries = Object.keys(run.task.assignments).length;
    const wait = Math.min(RETRY_MS.longest, RETRY_MS.first * 2 ** Math.min(tries - 1, 16));
    const retry = { maxAttempts: this.#init.maxAttempts, notBefore: at + Math.round(wait * (0.5 + random() / 2)) };
    try {
      const task = await this.#update(run.task.id, (current) =>
        endAssignment(current, run.assignment.id, { state, reason, at }, retry),
      );
      if (task.state === "queued") this.#wakeAt(task.notBefore);
    } catch (error) {
      if (!(error instanceof ComputeError && error.code === "CONFLICT")) {
        this.#complain(error);
        clock.after(RETRY_STORE_MS, () => void this.end(run, state, reason));
        return;
      }
    }
    metrics.assignmentsEnded.inc({ state });
    if (state === "rejected" || state === "lost") {
      logger.warn(
        { nodeId: run.node.id, taskId: run.task.id, assignmentId: run.assignment.id, reason },
        `result ${state}`,
      );
    }
    this.#forget(run);
  }

  /** Takes the lease back from a node and blames it. */
  async withdraw(run: Run, reason: string): Promise<void> {
    if (!this.#runs.has(run.assignment.id)) return;
    run.node.link?.cancel(run.assignment.id, "LEASE_LOST");
    this.#components.fleet.blame(run.node, "lost");
    await this.end(run, "lost", reason);
  }

  /**
   * Compares a heartbeat's list with what should be there: takes back what is missing twice in a row. What the node has
   * not answered yet has a time limit of its own.
   */
  async reconcile(node: LiveNode, listed: ReadonlySet<Hex>): Promise<void> {
    for (const run of [...node.runs.values()]) {
      if (run.phase !== "running" || listed.has(run.assignment.id)) run.missed = 0;
      else if (++run.missed >= 2) await this.withdraw(run, "MISSING_AT_NODE");
      if (run.task.state === "cancelling" && run.phase !== "checking")
        node.link?.cancel(run.assignment.id, "REQUESTED");
    }
  }

  /** Why a queued task waits, for its requester; undefined when it does not. */
  waitingReason(task: Task): string | undefined {
    if (task.state !== "queued") return undefined;
    const { clock, fleet } = this.#components;
    const wait = task.notBefore - clock.now();
    if (wait > 0 && Object.keys(task.assignments).length > 0) {
      return `the last attempt ended without a result; the next one starts in ${Math.ceil(wait / 1_000)} s`;
    }
    const online = [...fleet.wallets()];
    if (online.length === 0) return "no node is online";
    const serving = online.filter(({ kinds }) => kinds.includes(task.kind));
    if (serving.length === 0) return `no online node serves kind ${task.kind}`;
    const others = this.#init.allowSelfTasks ? serving : serving.filter(({ wallet }) => wallet !== task.requester);
    if (others.length === 0) return "only your own nodes are online, and this network does not let them do your tasks";
    const { n, k } = matmulOf(task.spec);
    const able = others.filter((node) => isFastEnough(node, matmulUnits(n, k), task.deadline - clock.now()));
    if (able.length === 0) return "no online node is fast enough to end it before its deadline";
    const who = able.length === 1 ? "the only node that can do it is" : `all ${able.length} nodes that can do it are`;
    return `${who} busy; ${this.#queued} ${this.#queued === 1 ? "task waits" : "tasks wait"}`;
  }

  /** 0 to 1, of the live assignment; undefined when there is none. */
  progress(taskId: Hex): number | undefined {
    return this.#byTask.get(taskId)?.progress;
  }

  depth(): { queued: number; running: number } {
    return { queued: this.#queued, running: this.#runs.size };
  }

  // Fleet's calls.

  room(): void {
    if (this.#queued === 0 || this.#draining) return;
    if (this.#filling) {
      this.#fillAgain = true;
      return;
    }
    this.#filling = true;
    setImmediate(() => void this.#fill());
  }

  joined(node: LiveNode, running: readonly Hex[]): void {
    const kept = new Set(running);
    for (const run of [...node.runs.values()]) {
      if (run.assignment.wallet !== node.offer.wallet) void this.withdraw(run, "WALLET_CHANGED");
      else if (run.phase === "checking") continue;
      else if (!kept.has(run.assignment.id)) void this.withdraw(run, "NOT_RESUMED");
      else {
        run.phase = "running";
        run.missed = 0;
        run.movedAt = this.#components.clock.monotonic();
        if (run.task.state === "cancelling") node.link?.cancel(run.assignment.id, "REQUESTED");
      }
    }
  }

  offline(node: LiveNode): void {
    for (const run of [...node.runs.values()]) {
      if (run.phase !== "checking") void this.withdraw(run, "NODE_OFFLINE");
    }
  }

  // Inside.

  #encodeSpec({ requester, spec }: TaskRequest, deadline: number): Uint8Array {
    const { contract } = this.#init;
    return TaskSpec.encode({
      chainId: BigInt(contract?.chainId ?? 0),
      contract: Buffer.from(contract ? addressBytes(contract.address) : []),
      requester: Buffer.from(addressBytes(requester)),
      deadlineUnixMs: BigInt(deadline),
      kind: { $case: "matmul", value: { n: spec.n, k: spec.k } },
    }).finish();
  }

  /**
   * A node for the task. Tiny tasks of one turn go to one node as far as it has room, so that they, and after them their
   * results, travel in one frame under one signature.
   */
  #pick(task: Task, { n, k } = matmulOf(task.spec)): LiveNode | undefined {
    const tried = new Set(Object.values(task.assignments).map(({ nodeId }) => nodeId));
    const units = matmulUnits(n, k);
    const tiny = units <= TINY_UNITS;
    const left = task.deadline - this.#components.clock.now();
    const node = this.#components.fleet.pick(
      ({ offer }) =>
        offer.kinds.includes(task.kind) &&
        (this.#init.allowSelfTasks || offer.wallet !== task.requester) &&
        isFastEnough(offer, units, left),
      tried,
      tiny ? this.#bundling : undefined,
    );
    if (tiny && node) {
      if (!this.#bundling) setImmediate(() => (this.#bundling = undefined));
      this.#bundling = node;
    }
    return node;
  }

  /** Takes the node's room before the write, so that two writes of one turn don't take the same. */
  #reserve(node: LiveNode, queued: Task): Run {
    const assignedAt = this.#components.clock.now();
    const id = newId();
    const task = assign(queued, { id, nodeId: node.id, wallet: node.offer.wallet, assignedAt });
    const run = this.#newRun(task, node, "sent");
    this.#components.fleet.refresh(node);
    return run;
  }

  #newRun(task: Task, node: LiveNode, phase: Run["phase"]): Run {
    const assignment = liveAssignment(task)!;
    const movedAt = this.#components.clock.monotonic();
    const run: Run = { task, assignment, node, phase, progress: 0, movedAt, missed: 0, upload: undefined };
    this.#runs.set(assignment.id, run);
    this.#byTask.set(task.id, run);
    node.runs.set(assignment.id, run);
    return run;
  }

  #push(run: Run, task: Task): void {
    run.task = task;
    run.movedAt = this.#components.clock.monotonic();
    run.node.link?.assign(run.assignment.id, task);
    this.#components.metrics.assignments.inc();
  }

  #forget(run: Run): void {
    if (!this.#runs.delete(run.assignment.id)) return;
    if (this.#byTask.get(run.task.id) === run) this.#byTask.delete(run.task.id);
    run.node.runs.delete(run.assignment.id);
    run.upload?.release();
    if (run.phase === "checking") run.node.checking--;
    this.#components.fleet.refresh(run.node);
  }

  async #read(taskId: Hex): Promise<Task> {
    const task = await this.#components.store.task(taskId);
    if (!task) throw new ComputeError("NOT_FOUND", "there is no such task");
    return task;
  }

  /** One guarded change. When another write came first, it is made again on what that one left. */
  async #update(taskId: Hex, change: (task: Task) => Task, made?: Parameters<Store["saveTask"]>[1]): Promise<Task> {
    const { store, events } = this.#components;
    let known = this.#byTask.get(taskId)?.task;
    for (let collision = 0; collision < COLLISIONS; collision++) {
      const before = known ?? (await this.#read(taskId));
      const task = change(before);
      if (await store.saveTask(task, made)) {
        this.#queued += Number(task.state === "queued") - Number(before.state === "queued");
        const run = this.#byTask.get(taskId);
        if (run) run.task = task;
        events.publish(taskId);
        return task;
      }
      known = undefined;
    }
    throw new ComputeError("CONFLICT", "the task is being changed by others all the time");
  }

  async #recover(task: Task): Promise<void> {
    const { fleet, store } = this.#components;
    const live = liveAssignment(task)!;
    const stored = await store.node(live.nodeId);
    const node = fleet.expect(live.nodeId, {
      nodeId: live.nodeId,
      wallet: live.wallet,
      version: stored?.version ?? "",
      kinds: stored?.kinds ?? [],
      slots: stored?.slots ?? 1,
      hardware: stored?.hardware ?? { cpuModel: "", cpuCores: 0, memoryBytes: 0, platform: "" },
      confirmed: stored?.confirmed ?? false,
      runningAssignmentIds: [],
    });
    this.#newRun(task, node, "running");
  }

  async #fill(): Promise<void> {
    const { store, fleet, clock, logger } = this.#components;
    try {
      do {
        this.#fillAgain = false;
        const passed: Hex[] = [];
        for (
          let room = fleet.room(PAGE);
          room > 0 && !this.#draining && passed.length < LOOK_AHEAD;
          room = fleet.room(PAGE)
        ) {
          const page = await store.queuedTasks({ now: clock.now(), limit: room, excluded: [...passed, ...this.#busy] });
          for (const task of page) if (!this.#lease(task)) passed.push(task.id);
          if (page.length < room) break;
        }
      } while (this.#fillAgain && !this.#draining);
    } catch (error) {
      logger.warn({ err: error }, "queued tasks not read; trying again");
      this.#wakeAt(clock.now() + RETRY_STORE_MS);
    } finally {
      this.#filling = false;
    }
  }

  /** Leases a queued task to a node that fits; false when none does. */
  #lease(queued: Task): boolean {
    const node = this.#pick(queued);
    if (!node) return false;
    const run = this.#reserve(node, queued);
    this.#busy.add(queued.id);
    this.#components.store
      .saveTask(run.task)
      .then((won) => {
        if (!won) return this.#forget(run);
        this.#queued--;
        this.#push(run, run.task);
        this.#components.events.publish(queued.id);
      })
      .catch((error: unknown) => {
        this.#components.logger.warn({ err: error, taskId: queued.id }, "lease not stored");
        this.#forget(run);
        this.#wakeAt(this.#components.clock.now() + RETRY_STORE_MS);
      })
      .finally(() => this.#busy.delete(queued.id));
    return true;
  }

  #wakeAt(at: number): void {
    if (this.#draining || (this.#wake && this.#wake.at <= at)) return;
    this.#wake?.stop();
    const stop = this.#components.clock.after(Math.max(1, at - this.#components.clock.now()), () => {
      this.#wake = undefined;
      this.room();
    });
    this.#wake = { at, stop };
  }

  /** Takes back assignments that the node never answered, and those whose upload stands still and holds memory. */
  #withdrawSilent(): void {
    const now = this.#components.clock.monotonic();
    for (const run of this.#runs.values()) {
      if (!run.node.link) continue;
      const still = now - run.movedAt;
      if (run.phase === "sent" && still > 2 * this.#init.heartbeatMs) void this.withdraw(run, "NOT_ANSWERED");
      if (run.phase === "running" && run.upload && still > this.#init.leaseMs)
        void this.withdraw(run, "UPLOAD_STALLED");
    }
    const { queued, running } = this.depth();
    this.#components.metrics.queued.set(queued);
    this.#components.metrics.running.set(running);
    this.room();
  }

  async #expireOverdue(): Promise<void> {
    const { store, clock } = this.#components;
    try {
      for (const overdue of await store.overdueTasks(clock.now(), PAGE)) {
        const run = this.#byTask.get(overdue.id);
        // A result that is here in time is judged, not thrown away.
        if (run?.phase === "checking" || isFinal(overdue)) continue;
        await this.#update(overdue.id, (task) => expire(task, clock.now()));
        if (run) {
          run.node.link?.cancel(run.assignment.id, "DEADLINE");
          this.#forget(run);
        }
      }
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    this.#components.logger.warn({ err: error }, "a change of a task was not stored; trying again");
  }
}

/** A new UUIDv7: sorts by time, which keeps index pages warm. */
function newId(): Hex {
  return toHex(uuidv7({}, new Uint8Array(16)));
}

/** Bytes of an id, for the wire. */
export function idBytes(id: Hex): Buffer {
  return Buffer.from(fromHex(id));
}
