import type { Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { ComputeError, hasMovedOn } from "../../domain/errors.ts";
import type { Owner } from "../../domain/owner.ts";
import type { Receipt } from "../../domain/receipt.ts";
import { accept, type Ending, endAssignment, liveAssignment, type Task } from "../../domain/task.ts";
import { type CoordinatorKinds, specOf } from "../../kinds/index.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Store } from "../../ports/store.ts";
import { logFailure } from "../../util/log-failure.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { ActiveAssignment, LiveNode, NodeFault } from "../fleet/live-node.ts";
import type { Metrics } from "../metrics.ts";
import type { TaskEvents } from "../watch/task-events.ts";

/** First and longest wait before a task is tried again. */
const RETRY_MS = { first: 250, longest: 30_000 };
/** Wait before a write is tried again while the store is away. */
const RETRY_STORE_MS = 1_000;
/** Cancels of unknown assignments that answer one heartbeat; those that are left answer the next. */
const MAX_CANCELS = 256;
/** Writes of one task that may collide before the caller hears of it. */
const COLLISIONS = 5;

export interface LeasesComponents {
  readonly store: Store;
  readonly kinds: CoordinatorKinds;
  readonly fleet: Fleet;
  readonly events: TaskEvents;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random: () => number;
}

export interface LeasesInit {
  /** This coordinator, which owns the tasks that its nodes run. */
  readonly self: Owner;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly maxAttempts: number;
}

/**
 * Follows each attempt at a task to its end. Every change of a task is one guarded write of its document; the memory here
 * is only who runs what, and is made again from the store and the nodes' Hellos after a restart.
 */
export class Leases {
  readonly #components: LeasesComponents;
  readonly #init: LeasesInit;
  /** By assignment id. */
  readonly #runs = new Map<Hex, ActiveAssignment>();
  readonly #byTask = new Map<Hex, ActiveAssignment>();
  #moved: (before: Task, after: Task) => void = () => {};
  /** Nodes whose claims are being compared with the store. */
  readonly #disowning = new Set<LiveNode>();
  /** Monotonic: when silence was last looked for. */
  #lookedAt = 0;

  constructor(components: LeasesComponents, init: LeasesInit) {
    this.#components = components;
    this.#init = init;
  }

  /** `moved` hears of every change that was stored here. */
  start(moved: (before: Task, after: Task) => void): void {
    this.#moved = moved;
    this.#lookedAt = this.#components.clock.monotonic();
  }

  /** The live assignment of that id at that node, or undefined when it has ended or is another's. */
  run(assignmentId: Hex, node: LiveNode): ActiveAssignment | undefined {
    const run = this.#runs.get(assignmentId);
    return run?.node === node ? run : undefined;
  }

  /** The live assignment of that id, at whichever node. */
  get(assignmentId: Hex): ActiveAssignment | undefined {
    return this.#runs.get(assignmentId);
  }

  /** Those that a node has, as far as known, and whose end is not being written. */
  listRunning(): ActiveAssignment[] {
    return [...this.#runs.values()].filter(({ phase, ending }) => phase === "running" && !ending);
  }

  /** The live assignment of a task, or undefined. */
  ofTask(taskId: Hex): ActiveAssignment | undefined {
    return this.#byTask.get(taskId);
  }

  /** Live assignments. */
  get size(): number {
    return this.#runs.size;
  }

  /** Keeps the live assignment of a task; the node's room is taken from now on. */
  open(task: Task, node: LiveNode, phase: ActiveAssignment["phase"]): ActiveAssignment {
    const assignment = liveAssignment(task)!;
    const movedAt = this.#components.clock.monotonic();
    const run: ActiveAssignment = {
      task,
      assignment,
      node,
      phase,
      progress: 0,
      movedAt,
      missed: 0,
      ending: undefined,
      upload: undefined,
    };
    this.#runs.set(assignment.id, run);
    // One whose lease the store may still refuse does not hide the one that it has.
    if (phase !== "reserved" || !this.#byTask.has(task.id)) this.#byTask.set(task.id, run);
    node.runs.set(assignment.id, run);
    this.#components.fleet.refresh(node);
    return run;
  }

  /** Sends an assignment that is stored now; one that was withdrawn while it was being stored ends instead. */
  push(run: ActiveAssignment, task: Task): void {
    if (!this.#runs.has(run.assignment.id)) {
      this.endStray(task.id, run.assignment.id).catch((error: unknown) => this.#complain(error));
      return;
    }
    run.task = task;
    run.phase = "sent";
    this.#byTask.set(task.id, run);
    run.movedAt = this.#components.clock.monotonic();
    run.node.link?.assign(run.assignment.id, task);
    this.#components.metrics.assignments.inc();
  }

  /** The assignment is over, or never was: its room is free. */
  forget(run: ActiveAssignment): void {
    if (!this.#runs.delete(run.assignment.id)) return;
    if (this.#byTask.get(run.task.id) === run) this.#byTask.delete(run.task.id);
    run.node.runs.delete(run.assignment.id);
    this.dropUpload(run);
    if (run.phase === "checking") run.node.checking--;
    this.#components.fleet.refresh(run.node);
  }

  /** The node said how far it is; its first word accepts the assignment. */
  advance(run: ActiveAssignment, fraction: number): void {
    if (run.phase === "sent") run.phase = "running";
    run.movedAt = this.#components.clock.monotonic();
    const progress = Math.min(1, Math.max(run.progress, fraction));
    if (progress === run.progress && run.progress > 0) return;
    run.progress = progress;
    this.#components.events.publish(run.task.id);
  }

  /** Gives the memory of its output back. */
  dropUpload(run: ActiveAssignment): void {
    run.upload?.release();
    run.upload = undefined;
  }

  /** The result is here: its slot is free, its lease holds until the verdict. */
  markChecking(run: ActiveAssignment): void {
    run.phase = "checking";
    run.progress = 1;
    run.node.checking++;
    this.#components.fleet.refresh(run.node);
  }

  /** A checked result: verdict, transition and receipt in one durable write. Throws CONFLICT when the run has ended. */
  async complete(run: ActiveAssignment, receipt: Receipt, output: Uint8Array | undefined): Promise<void> {
    await this.update(run.task.id, (task) => accept(task, receipt), {
      receipt,
      ...(output && { output }),
    });
    this.forget(run);
    this.#components.metrics.assignmentsEnded.inc({ state: "accepted" });
    this.#components.fleet.credit(run.node);
    this.#components.fleet.refresh(run.node);
  }

  /**
   * An attempt that ended without a receipt; the task is queued again, fails for good, or is cancelled. With a `fault` the
   * node is blamed, unless it turns out that the attempt was another coordinator's by then. Resolves once an end is stored,
   * however long the store is away: true when it is this one.
   */
  async end(run: ActiveAssignment, state: Ending["state"], reason: string, fault?: NodeFault): Promise<boolean> {
    if (run.ending) {
      await run.ending;
      return false;
    }
    run.ending = this.#writeEnd(run, state, reason, fault);
    return run.ending;
  }

  async #writeEnd(run: ActiveAssignment, state: Ending["state"], reason: string, fault?: NodeFault): Promise<boolean> {
    const { clock, metrics, logger, random, fleet } = this.#components;
    const at = clock.now();
    const tries = Object.keys(run.task.assignments).length;
    const wait = Math.min(RETRY_MS.longest, RETRY_MS.first * 2 ** Math.min(tries - 1, 16));
    const retry = { maxAttempts: this.#init.maxAttempts, notBefore: at + Math.round(wait * (0.5 + random() / 2)) };
    for (let stored = false; !stored; ) {
      if (!this.#runs.has(run.assignment.id)) return false;
      try {
        await this.update(run.task.id, (current) =>
          endAssignment(current, run.assignment.id, { state, reason, at }, retry, this.#init.self),
        );
        stored = true;
      } catch (error) {
        if (hasMovedOn(error)) {
          // It has ended, or is another coordinator's by now.
          this.forget(run);
          return false;
        }
        this.#complain(error);
        await new Promise<void>((resolve) => {
          clock.after(RETRY_STORE_MS, resolve);
        });
      }
    }
    if (fault) fleet.blame(run.node, fault);
    metrics.assignmentsEnded.inc({ state });
    if (state === "rejected" || state === "lost") {
      logger.warn(
        { nodeId: run.node.id, taskId: run.task.id, assignmentId: run.assignment.id, reason },
        `result ${state}`,
      );
    }
    this.forget(run);
    return true;
  }

  /** Ends an assignment of ours that nobody follows: it was stored, and no node was told of it. */
  async endStray(taskId: Hex, assignmentId: Hex): Promise<void> {
    const { clock, logger } = this.#components;
    const at = clock.now();
    const ending = { state: "lost", reason: "NOT_DELIVERED", at } as const;
    const retry = { maxAttempts: Number.POSITIVE_INFINITY, notBefore: at };
    try {
      await this.update(taskId, (task) => endAssignment(task, assignmentId, ending, retry, this.#init.self));
      logger.warn({ taskId, assignmentId }, "an assignment that nobody followed was ended");
    } catch (error) {
      if (!hasMovedOn(error)) throw error;
    }
  }

  /** Takes the lease back from a node and blames it. */
  withdraw(run: ActiveAssignment, reason: string): void {
    if (run.ending || !this.#runs.has(run.assignment.id)) return;
    if (run.phase === "reserved") {
      this.forget(run);
      return;
    }
    run.node.link?.cancel(run.assignment.id, "LEASE_LOST");
    void this.end(run, "lost", reason, "lost");
  }

  /**
   * Compares a heartbeat's list with what is followed here: takes back what is missing twice in a row, and cancels what is
   * unknown twice in a row. Once is not enough: an assignment or the ack of a result may have crossed the heartbeat. What
   * the node has not answered yet has a time limit of its own.
   */
  reconcile(node: LiveNode, listed: ReadonlySet<Hex>): void {
    const unknown = new Set<Hex>();
    const claimed: Hex[] = [];
    for (const id of listed) {
      if (node.runs.has(id)) continue;
      if (node.unknown.has(id) && claimed.length < MAX_CANCELS) claimed.push(id);
      unknown.add(id);
    }
    node.unknown = unknown;
    if (claimed.length > 0) void this.#disown(node, claimed);
    for (const run of [...node.runs.values()]) {
      if (run.phase !== "running" || listed.has(run.assignment.id)) run.missed = 0;
      else if (++run.missed >= 2) this.withdraw(run, "MISSING_AT_NODE");
      if (run.task.state === "cancelling" && run.phase !== "checking")
        node.link?.cancel(run.assignment.id, "REQUESTED");
    }
  }

  /** Takes back assignments that the node never answered, and those whose upload holds memory and stands still or drips. */
  withdrawSilent(): void {
    const now = this.#components.clock.monotonic();
    // It runs every half heartbeat. When it comes late itself (a stalled process), answers wait to be read.
    const late = Math.max(0, now - this.#lookedAt - this.#init.heartbeatMs / 2);
    this.#lookedAt = now;
    for (const run of this.#runs.values()) {
      run.movedAt = Math.min(now, run.movedAt + late);
      if (!run.node.link) continue;
      const still = now - run.movedAt;
      if (run.phase === "sent" && still > 2 * this.#init.heartbeatMs) this.withdraw(run, "NOT_ANSWERED");
      if (run.phase !== "running" || !run.upload) continue;
      if (still > this.#init.leaseMs) this.withdraw(run, "UPLOAD_STALLED");
      else if (run.upload.isSlow(now)) this.withdraw(run, "UPLOAD_TOO_SLOW");
    }
  }

  /** A session began; `running` are the assignments that the node says it still has. */
  onJoined(node: LiveNode, running: readonly Hex[]): void {
    const kept = new Set(running);
    for (const run of [...node.runs.values()]) {
      if (run.assignment.wallet !== node.offer.wallet) this.withdraw(run, "WALLET_CHANGED");
      else if (run.phase === "checking") continue;
      else if (!kept.has(run.assignment.id)) this.withdraw(run, "NOT_RESUMED");
      else {
        run.phase = "running";
        run.missed = 0;
        run.movedAt = this.#components.clock.monotonic();
        // What arrived in another session is sent again.
        this.dropUpload(run);
        if (run.task.state === "cancelling") node.link?.cancel(run.assignment.id, "REQUESTED");
      }
    }
  }

  /** The grace is over; the leases are lost. */
  onOffline(node: LiveNode): void {
    for (const run of [...node.runs.values()]) {
      if (run.phase !== "checking") this.withdraw(run, "NODE_OFFLINE");
    }
  }

  /** Tells a node to stop assignments that it claims and that are not its own, but for live ones of a kind that is not known here. */
  async #disown(node: LiveNode, claimed: readonly Hex[]): Promise<void> {
    const { store, kinds, logger } = this.#components;
    const { link } = node;
    if (this.#disowning.has(node)) return;
    this.#disowning.add(node);
    try {
      const live = await store.liveTasksOf(node.id);
      const left = new Set(live.filter((task) => !specOf(task, kinds)).map((task) => liveAssignment(task)?.id));
      if (node.link !== link) return;
      for (const id of claimed) if (!left.has(id) && !node.runs.has(id)) link?.cancel(id, "LEASE_LOST");
    } catch (error) {
      logFailure(logger, error, "unknown assignments of a node were not looked up; trying again", { nodeId: node.id });
    } finally {
      this.#disowning.delete(node);
    }
  }

  /** The task as stored; throws NOT_FOUND. */
  async read(taskId: Hex): Promise<Task> {
    const task = await this.#components.store.task(taskId);
    if (!task) throw new ComputeError("NOT_FOUND", "there is no such task");
    return task;
  }

  /** One guarded change. When another write came first, it is made again on what that one left. */
  async update(taskId: Hex, change: (task: Task) => Task, made?: Parameters<Store["saveTask"]>[1]): Promise<Task> {
    const { store, events } = this.#components;
    const followed = this.#byTask.get(taskId);
    // A lease that is not stored is no ground to write on: what another stored instead has the same version.
    let known = followed?.phase === "reserved" ? undefined : followed?.task;
    for (let collision = 0; collision < COLLISIONS; collision++) {
      const before = known ?? (await this.read(taskId));
      const task = change(before);
      if (await store.saveTask(task, made)) {
        this.#moved(before, task);
        const run = this.#byTask.get(taskId);
        if (run && run.phase !== "reserved") run.task = task;
        events.publish(taskId);
        return task;
      }
      known = undefined;
    }
    throw new ComputeError("CONFLICT", "the task is being changed by others all the time");
  }

  #complain(error: unknown): void {
    logFailure(this.#components.logger, error, "a change of a task was not stored; trying again");
  }
}
