import type { Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { ComputeError, hasMovedOn } from "../../domain/errors.ts";
import { isSameOwner, type Owner } from "../../domain/owner.ts";
import type { Receipt } from "../../domain/receipt.ts";
import { accept, type Ending, endAssignment, liveAssignment, type Task } from "../../domain/task.ts";
import { type CoordinatorKind, type CoordinatorKinds, type KnownSpec, specOf } from "../../kinds/index.ts";
import type { Clock } from "../../ports/clock.ts";
import type { NodeStore } from "../../ports/nodes.ts";
import type { TaskStore } from "../../ports/tasks.ts";
import { logFailure } from "../../util/log-failure.ts";
import { retry } from "../../util/retry.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { LiveNode, NodeFault } from "../fleet/live-node.ts";
import type { Metrics } from "../metrics.ts";
import type { TaskEvents } from "../watch/task-events.ts";
import { type FailureCode, outcomeOf } from "./failure.ts";
import { ATTEMPT_BACKOFF_MS, MAX_CANCELS, MAX_CONFLICTS, STORE_RETRY_MS } from "./limits.ts";

export interface LeasesComponents {
  readonly store: Pick<TaskStore, "task" | "saveTask" | "liveTasksOf"> & Pick<NodeStore, "node">;
  readonly kinds: CoordinatorKinds;
  readonly fleet: Pick<Fleet, "credit" | "blame">;
  readonly events: Pick<TaskEvents, "publish">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, "assignments" | "assignmentsEnded">;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface LeasesInit {
  /** This coordinator, which owns the tasks that its nodes run. */
  readonly self: Owner;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly maxAttempts: number;
}

/** Hears of every change of a task that was stored here. */
export type TaskListener = (before: Task, after: Task) => void;

/**
 * Follows each assignment to its end. Every change of a task is one guarded write of its document. The memory here only says
 * who runs what, and is made again after a restart from the store and from the nodes' Hellos.
 */
export class Leases {
  readonly #components: LeasesComponents;
  readonly #init: LeasesInit;
  readonly #assignments = new Map<Hex, ActiveAssignment>();
  readonly #byTask = new Map<Hex, ActiveAssignment>();
  readonly #stopping = new AbortController();
  /** Nodes whose claims are being compared with the store. */
  readonly #disowning = new Set<LiveNode>();
  #onChanged: TaskListener = () => {};
  /** Monotonic: the last look for silent nodes. */
  #lookedAt = 0;

  constructor(components: LeasesComponents, init: LeasesInit) {
    this.#components = components;
    this.#init = init;
  }

  start(onChanged: TaskListener): void {
    this.#onChanged = onChanged;
    this.#lookedAt = this.#components.clock.monotonic();
  }

  /** Ends that the store has not taken yet are written no more: whoever takes the tasks over ends them. */
  stop(): void {
    this.#stopping.abort();
  }

  /** The live assignment of that id at that node; undefined when it has ended or is another node's. */
  find(assignmentId: Hex, node: LiveNode): ActiveAssignment | undefined {
    const assignment = this.#assignments.get(assignmentId);
    return assignment?.node === node ? assignment : undefined;
  }

  /** The live assignment of that id, at whichever node. */
  get(assignmentId: Hex): ActiveAssignment | undefined {
    return this.#assignments.get(assignmentId);
  }

  /** Assignments that a node has, as far as known, and whose end is not being written. */
  listRunning(): ActiveAssignment[] {
    return [...this.#assignments.values()].filter(({ phase, isEnding }) => phase === "running" && !isEnding);
  }

  /** The live assignment of a task, or undefined. */
  ofTask(taskId: Hex): ActiveAssignment | undefined {
    return this.#byTask.get(taskId);
  }

  /** How many assignments are live. */
  get size(): number {
    return this.#assignments.size;
  }

  /** Follows the live assignment of a task from now on; it takes up the node's capacity. */
  open(task: Task, work: KnownSpec<CoordinatorKind>, node: LiveNode, phase: "reserved" | "running"): ActiveAssignment {
    const assignment = node.begin({ task, work, phase, now: this.#components.clock.monotonic() });
    this.#assignments.set(assignment.id, assignment);
    // A lease that the store may still refuse does not hide the one that the task has.
    if (phase !== "reserved" || !this.#byTask.has(task.id)) this.#byTask.set(task.id, assignment);
    return assignment;
  }

  /** Sends an assignment that is stored now; if it was withdrawn while it was being stored, it ends instead. */
  push(assignment: ActiveAssignment, task: Task): void {
    const { clock, metrics, logger } = this.#components;
    if (!this.#assignments.has(assignment.id)) {
      this.endStray(task.id, assignment.id).catch((error: unknown) =>
        logFailure(logger, error, "stray assignment not ended", { taskId: task.id }),
      );
      return;
    }
    assignment.toSent(task, clock.monotonic());
    this.#byTask.set(task.id, assignment);
    assignment.node.link?.assign(assignment.id, task);
    metrics.assignments.inc();
  }

  /** The assignment is over, or never was: what it took is free. */
  forget(assignment: ActiveAssignment): void {
    if (!this.#assignments.delete(assignment.id)) return;
    const { id } = assignment.task;
    if (this.#byTask.get(id) === assignment) this.#byTask.delete(id);
    assignment.end();
  }

  /** The node said how far it is; its first word accepts the assignment. */
  advance(assignment: ActiveAssignment, fraction: number): void {
    const { clock, events } = this.#components;
    if (assignment.advance(fraction, clock.monotonic())) events.publish(assignment.task.id);
  }

  /** Stores an accepted result: verdict, transition and receipt in one write. Throws CONFLICT when the assignment has ended. */
  async complete(assignment: ActiveAssignment, receipt: Receipt, output: Uint8Array | undefined): Promise<void> {
    const { metrics, fleet } = this.#components;
    await this.update(assignment.task.id, (task) => accept(task, receipt), { receipt, ...(output && { output }) });
    this.forget(assignment);
    metrics.assignmentsEnded.inc({ state: "accepted" });
    fleet.credit(assignment.node);
  }

  /** The node ended an assignment without a result. The end is written in the background, so that other frames go on. */
  fail(assignment: ActiveAssignment, code: FailureCode, detail: string): void {
    const { state, fault } = outcomeOf(code, assignment.work.kind);
    void this.end(assignment, state, detail || code, fault);
  }

  /**
   * Ends an assignment without a receipt; the task is queued again, fails for good, or is cancelled. With a `fault` the node
   * is blamed, unless the assignment turns out to be another coordinator's by then. Resolves once an end is stored, however
   * long the store is away: true when it is this one. After {@link stop} false, and nothing may be stored.
   */
  end(assignment: ActiveAssignment, state: Ending["state"], reason: string, fault?: NodeFault): Promise<boolean> {
    return assignment.writeEnd(() => this.#writeEnd(assignment, state, reason, fault));
  }

  /** Ends an assignment of ours that nobody follows: it was stored, and no node was told of it. */
  async endStray(taskId: Hex, assignmentId: Hex): Promise<void> {
    const { clock, logger } = this.#components;
    const at = clock.now();
    const ending = { state: "lost", reason: "NOT_DELIVERED", at } as const;
    const backoff = { maxAttempts: Number.POSITIVE_INFINITY, notBefore: at };
    try {
      await this.update(taskId, (task) => endAssignment(task, assignmentId, ending, backoff, this.#init.self));
      logger.warn({ taskId, assignmentId }, "stray assignment ended");
    } catch (error) {
      if (!hasMovedOn(error)) throw error;
    }
  }

  /** Takes the lease back from a node and blames it. */
  withdraw(assignment: ActiveAssignment, reason: string): void {
    if (assignment.isEnding || !this.#assignments.has(assignment.id)) return;
    if (assignment.phase === "reserved") {
      this.forget(assignment);
      return;
    }
    assignment.node.link?.cancel(assignment.id, "LEASE_LOST");
    void this.end(assignment, "lost", reason, "lost");
  }

  /**
   * Compares a heartbeat's list with what is followed here: withdraws what is missing twice in a row, and cancels what is
   * unknown twice in a row. Once is not enough: an assignment or the ack of a result may have crossed the heartbeat. What
   * the node has not answered yet has a time limit of its own.
   */
  reconcile(node: LiveNode, listed: ReadonlySet<Hex>): void {
    const claimed = node.noteUnknown(new Set([...listed].filter((id) => !node.assignments.has(id))));
    if (claimed.length > 0) void this.#disown(node, claimed.slice(0, MAX_CANCELS));
    for (const assignment of [...node.assignments.values()]) {
      if (assignment.note(listed.has(assignment.id)) >= 2) this.withdraw(assignment, "MISSING_AT_NODE");
      if (assignment.task.state === "cancelling" && assignment.phase !== "checking") {
        node.link?.cancel(assignment.id, "REQUESTED");
      }
    }
  }

  /** Withdraws assignments that the node never answered, and those whose upload holds memory and stands still or drips. */
  withdrawSilent(): void {
    const { heartbeatMs, leaseMs } = this.#init;
    const now = this.#components.clock.monotonic();
    // Runs every half heartbeat. When it comes late itself (a stalled process), answers wait to be read.
    const late = Math.max(0, now - this.#lookedAt - heartbeatMs / 2);
    this.#lookedAt = now;
    for (const assignment of this.#assignments.values()) {
      assignment.forgive(late, now);
      const { node, phase, upload } = assignment;
      if (!node.link) continue;
      const still = assignment.stillFor(now);
      if (phase === "sent" && still > 2 * heartbeatMs) this.withdraw(assignment, "NOT_ANSWERED");
      if (phase !== "running" || !upload) continue;
      if (Math.min(still, upload.openFor(now)) > leaseMs) this.withdraw(assignment, "UPLOAD_STALLED");
      else if (upload.isSlow(now)) this.withdraw(assignment, "UPLOAD_TOO_SLOW");
    }
  }

  /** A session began; `running` are the assignments that the node says it still has. */
  onJoined(node: LiveNode, running: readonly Hex[]): void {
    const kept = new Set(running);
    for (const assignment of [...node.assignments.values()]) {
      if (assignment.wallet !== node.offer.wallet) this.withdraw(assignment, "WALLET_CHANGED");
      else if (assignment.phase === "checking") continue;
      else if (!kept.has(assignment.id)) this.withdraw(assignment, "NOT_RESUMED");
      else {
        assignment.resume(this.#components.clock.monotonic());
        if (assignment.task.state === "cancelling") node.link?.cancel(assignment.id, "REQUESTED");
      }
    }
  }

  /** The grace of a node is over; its leases are lost. */
  onOffline(node: LiveNode): void {
    for (const assignment of [...node.assignments.values()]) {
      if (assignment.phase !== "checking") this.withdraw(assignment, "NODE_OFFLINE");
    }
  }

  /** The task as stored; throws NOT_FOUND. */
  async read(taskId: Hex): Promise<Task> {
    const task = await this.#components.store.task(taskId);
    if (!task) throw new ComputeError("NOT_FOUND", "there is no such task");
    return task;
  }

  /** Applies `change` with optimistic locking: on a version conflict, reads the task again and retries. */
  async update(taskId: Hex, change: (task: Task) => Task, made?: Parameters<TaskStore["saveTask"]>[1]): Promise<Task> {
    const { store, events } = this.#components;
    const followed = this.#byTask.get(taskId);
    // A lease that is not stored is no ground to write on: what another coordinator stored has the same version.
    let known = followed?.phase === "reserved" ? undefined : followed?.task;
    for (let conflicts = 0; conflicts < MAX_CONFLICTS; conflicts++) {
      const before = known ?? (await this.read(taskId));
      const task = change(before);
      if (await store.saveTask(task, made)) {
        this.#onChanged(before, task);
        const assignment = this.#byTask.get(taskId);
        if (assignment && assignment.phase !== "reserved") assignment.update(task);
        events.publish(taskId);
        return task;
      }
      known = undefined;
    }
    throw new ComputeError("CONFLICT", "the task is being changed by others all the time");
  }

  async #writeEnd(
    assignment: ActiveAssignment,
    state: Ending["state"],
    reason: string,
    fault?: NodeFault,
  ): Promise<boolean> {
    const { clock, metrics, logger, random, fleet } = this.#components;
    const { id, node, task } = assignment;
    const at = clock.now();
    const tries = Object.keys(task.assignments).length;
    const wait = Math.min(ATTEMPT_BACKOFF_MS.longest, ATTEMPT_BACKOFF_MS.first * 2 ** Math.min(tries - 1, 16));
    const backoff = { maxAttempts: this.#init.maxAttempts, notBefore: at + Math.round(wait * (0.5 + random() / 2)) };
    const write = async (): Promise<boolean> => {
      if (!this.#assignments.has(id)) return false;
      try {
        await this.update(task.id, (current) =>
          endAssignment(current, id, { state, reason, at }, backoff, this.#init.self),
        );
        return true;
      } catch (error) {
        if (!hasMovedOn(error)) throw error;
        // It has ended, or is another coordinator's by now.
        this.forget(assignment);
        return false;
      }
    };
    const onError = (error: unknown) =>
      logFailure(logger, error, "end of an assignment not stored; trying again", { taskId: task.id });
    // Only stop() makes it fail.
    const isStored = await retry(clock, this.#stopping.signal, write, { delayMs: STORE_RETRY_MS, onError }).catch(
      () => false,
    );
    if (!isStored) return false;
    if (fault && !(await this.#isElsewhere(node))) fleet.blame(node, fault);
    metrics.assignmentsEnded.inc({ state });
    if (state === "rejected" || state === "lost") {
      const ids = { nodeId: node.id, taskId: task.id, assignmentId: id };
      logger.warn({ ...ids, state, reason }, "assignment ended without a receipt");
    }
    this.forget(assignment);
    return true;
  }

  /**
   * Whether a node has a session at another coordinator. There it may keep an assignment of a kind that only this one
   * knows: no coordinator takes that over, so its lease ends here, and the node did nothing wrong.
   */
  async #isElsewhere(node: LiveNode): Promise<boolean> {
    if (node.link) return false;
    const stored = await this.#components.store.node(node.id).catch(() => null);
    return stored !== null && stored.status !== "offline" && !isSameOwner(stored.owner, this.#init.self);
  }

  /** Cancels what a node claims and does not have, except live assignments of a kind that is not known here. */
  async #disown(node: LiveNode, claimed: readonly Hex[]): Promise<void> {
    const { store, kinds, logger } = this.#components;
    const { link } = node;
    if (this.#disowning.has(node)) return;
    this.#disowning.add(node);
    try {
      const live = await store.liveTasksOf(node.id);
      const others = new Set(live.filter((task) => !specOf(task, kinds)).map((task) => liveAssignment(task)?.id));
      if (node.link !== link) return;
      for (const id of claimed) if (!others.has(id) && !node.assignments.has(id)) link?.cancel(id, "LEASE_LOST");
    } catch (error) {
      logFailure(logger, error, "a node's unknown assignments not looked up; trying again", { nodeId: node.id });
    } finally {
      this.#disowning.delete(node);
    }
  }
}
