import { type Address, addressBytes, type Hex, type TaskKindName } from "@proof-of-compute/proto";
import { writeTaskSpec } from "@proof-of-compute/proto/kinds";
import type { Logger } from "pino";
import { ComputeError, hasMovedOn } from "../../domain/errors.ts";
import { cancel, expire, type Task } from "../../domain/task.ts";
import type { CoordinatorKind, CoordinatorKinds } from "../../kinds/index.ts";
import type { Clock } from "../../ports/clock.ts";
import type { NodeStore } from "../../ports/nodes.ts";
import type { Nudge, PeerLink } from "../../ports/peers.ts";
import type { TaskStore } from "../../ports/tasks.ts";
import { Coalescer } from "../../util/coalescer.ts";
import { newId } from "../../util/ids.ts";
import { logFailure } from "../../util/log-failure.ts";
import type { Peers } from "../cluster/peers.ts";
import type { Takeover } from "../cluster/takeover.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Metrics } from "../metrics.ts";
import type { TaskEvents } from "../watch/task-events.ts";
import type { Leases } from "./leases.ts";
import { CANCELLED_POLL_MS, NUDGED_POLL_MS, OVERDUE_POLL_MS, PAGE } from "./limits.ts";
import type { Matcher } from "./matcher.ts";
import { waitingReason } from "./waiting-reason.ts";

export interface SchedulerComponents {
  readonly store: Pick<TaskStore, "task" | "insertTask" | "overdueTasks"> & Pick<NodeStore, "releaseNodes">;
  readonly kinds: CoordinatorKinds;
  readonly fleet: Pick<Fleet, "freeCapacity" | "offers">;
  readonly leases: Leases;
  readonly matcher: Matcher;
  readonly takeover: Pick<Takeover, "takeOverOrphans" | "reconcile" | "pullCancellations">;
  readonly events: Pick<TaskEvents, "publish">;
  readonly peers: Pick<Peers, "self" | "alive" | "others" | "addressOf" | "look">;
  readonly link: Pick<PeerLink, "nudge">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, "tasksSubmitted" | "queued" | "running">;
}

export interface SchedulerInit {
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  /** Queued tasks at most, of all requesters and of one. */
  readonly maxQueued: number;
  readonly maxQueuedPerRequester: number;
  readonly allowSelfTasks: boolean;
  /** Stands in every spec; undefined: settlement is off. */
  readonly contract: { readonly chainId: number; readonly address: Address } | undefined;
}

/** A requester's order. */
export interface TaskRequest {
  readonly requester: Address;
  readonly kind: TaskKindName;
  /** As the kind's `parse` returns it. */
  readonly spec: unknown;
  /** The task's deadline, in milliseconds from now. */
  readonly deadlineMs: number;
  /** Given by an Idempotency-Key; else a new UUIDv7. */
  readonly id?: Hex;
  readonly requestDigest?: Hex;
}

/** A task as it is stored, and whether this call stored it. */
export interface Submitted {
  readonly task: Task;
  readonly created: boolean;
}

/**
 * Takes tasks from requesters and sees that each comes to an end: the {@link Matcher} gives them to nodes, {@link Leases}
 * follows each assignment, {@link Takeover} takes over what other coordinators left behind.
 */
export class Scheduler {
  readonly #components: SchedulerComponents;
  readonly #init: SchedulerInit;
  readonly #takeOver = new Coalescer(() => this.#takeOverFromOthers());
  #isDraining = false;
  #stops: (() => void)[] = [];

  constructor(components: SchedulerComponents, init: SchedulerInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Takes up what earlier runs left: live assignments get the lease time for their nodes to come back. */
  async start(): Promise<void> {
    const { matcher, takeover, peers, clock, logger } = this.#components;
    const { heartbeatMs, leaseMs } = this.#init;
    const running = await takeover.takeOverOrphans();
    await matcher.start();
    const { queued } = this.depth();
    if (running > 0 || queued > 0) logger.info({ running, queued }, "tasks of earlier runs taken up");
    this.#stops = [
      clock.every(heartbeatMs / 2, () => this.#tick()),
      clock.every(OVERDUE_POLL_MS, () => void this.#expireOverdue()),
      clock.every(CANCELLED_POLL_MS, () => peers.others().length > 0 && void this.#pullCancellations()),
      // Finds what a lost answer or a failed write left behind.
      clock.every(leaseMs, () => void this.takeOver()),
    ];
  }

  stop(): void {
    this.drain();
    for (const stop of this.#stops.splice(0)) stop();
  }

  /** No new leases and no new tasks from now on. */
  drain(): void {
    this.#isDraining = true;
    this.#components.matcher.stop();
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Stores a task; when a node fits, the same write leases it. With a taken id the stored task comes back. */
  async submit(request: TaskRequest): Promise<Submitted> {
    const { store, kinds, leases, matcher, events, metrics } = this.#components;
    if (this.#isDraining) throw new ComputeError("DRAINING");
    const kind = kinds.get(request.kind)!;
    const queued = this.#newTask(request, kind);
    const assignment = matcher.place(queued, { kind, spec: request.spec });
    const refusal = assignment ? undefined : this.#fullReason(request.requester);
    if (refusal !== undefined) return this.#refuse(request, refusal);
    const task = assignment ? { ...assignment.task, version: 1 } : queued;
    let submitted: Submitted | undefined;
    try {
      submitted = await store.insertTask(task);
    } finally {
      if (assignment && !submitted?.created) leases.forget(assignment);
    }
    if (!submitted.created) return submitted;
    metrics.tasksSubmitted.inc();
    if (assignment) leases.push(assignment, task);
    else matcher.onQueued(task);
    events.publish(task.id);
    return submitted;
  }

  /**
   * Cancels a task that is not final, whichever coordinator runs it. A running one ends once its node said that it
   * stopped.
   */
  async cancel(taskId: Hex): Promise<Task> {
    const { leases, clock, peers, link } = this.#components;
    const before = await leases.read(taskId);
    if (before.state === "cancelling" || before.state === "cancelled") return before;
    const task = await leases.update(taskId, (current) => cancel(current, clock.now()));
    if (task.state !== "cancelling") return task;
    const assignment = leases.ofTask(taskId);
    assignment?.node.link?.cancel(assignment.id, "REQUESTED");
    const address = task.owner && peers.addressOf(task.owner);
    if (address !== undefined) link.nudge(address, { tasks: [taskId] });
    return task;
  }

  /** A peer said that something may concern this coordinator. */
  nudged({ queue, tasks }: Nudge): void {
    const { fleet, matcher } = this.#components;
    if (tasks !== undefined) void this.#pullCancellations();
    if (queue && fleet.freeCapacity(1) > 0) matcher.pollQueue(NUDGED_POLL_MS);
  }

  /** Takes over what lost coordinators ran, and looks at the queue that they served. */
  takeOver(): Promise<void> {
    return this.#takeOver.request();
  }

  /** Why a queued task waits, for its requester; undefined when it does not. */
  waitingReason(task: Task): string | undefined {
    const { clock, fleet, kinds, matcher } = this.#components;
    const { allowSelfTasks } = this.#init;
    const online = [...fleet.offers(), ...matcher.remoteOffers];
    return waitingReason(task, { now: clock.now(), kinds, online, allowSelfTasks, queued: matcher.queue.size });
  }

  /** 0 to 1, of the live assignment; undefined when there is none here. */
  progress(taskId: Hex): number | undefined {
    return this.#components.leases.ofTask(taskId)?.progress;
  }

  /** Queued tasks, as far as known here, and assignments that are live here. */
  depth(): { queued: number; running: number } {
    const { matcher, leases } = this.#components;
    return { queued: matcher.queue.size, running: leases.size };
  }

  #newTask(request: TaskRequest, kind: CoordinatorKind): Task {
    const { id = newId(), requester, deadlineMs, requestDigest } = request;
    const now = this.#components.clock.now();
    const deadline = now + deadlineMs;
    return {
      id,
      version: 1,
      requester,
      kind: kind.name,
      spec: this.#writeSpec(request, kind, deadline),
      state: "queued",
      createdAt: now,
      deadline,
      notBefore: now,
      attempts: 0,
      assignments: {},
      ...(requestDigest && { requestDigest }),
    };
  }

  #writeSpec({ requester, spec }: TaskRequest, { protocol }: CoordinatorKind, deadline: number): Uint8Array {
    const { contract } = this.#init;
    const terms = {
      chainId: BigInt(contract?.chainId ?? 0),
      contract: contract ? addressBytes(contract.address) : new Uint8Array(),
      requester: addressBytes(requester),
      deadline: BigInt(deadline),
    };
    return writeTaskSpec(terms, protocol, spec);
  }

  /** Why no more tasks may wait, or undefined while they may. */
  #fullReason(requester: Address): string | undefined {
    const { maxQueued, maxQueuedPerRequester } = this.#init;
    const { queue } = this.#components.matcher;
    if (queue.size >= maxQueued) return `${queue.size} tasks wait already, the most that may`;
    const depth = queue.depth(requester);
    return depth >= maxQueuedPerRequester ? `${depth} of your tasks wait already, the most of one wallet` : undefined;
  }

  /** A repeated request is answered, however many tasks wait. */
  async #refuse({ id }: TaskRequest, reason: string): Promise<Submitted> {
    const stored = id && (await this.#components.store.task(id));
    if (stored) return { task: stored, created: false };
    throw new ComputeError("QUEUE_FULL", reason);
  }

  async #takeOverFromOthers(): Promise<void> {
    const { takeover, peers, store, matcher, logger } = this.#components;
    try {
      const tasks = await takeover.takeOverOrphans();
      await peers.look();
      const nodes = await store.releaseNodes(peers.alive());
      if (tasks > 0 || nodes > 0) logger.warn({ tasks, nodes }, "took over from a lost coordinator");
      await takeover.reconcile();
    } catch (error) {
      logFailure(logger, error, "takeover failed; trying again");
    }
    matcher.pollQueue(0);
  }

  #tick(): void {
    const { leases, matcher, metrics } = this.#components;
    leases.withdrawSilent();
    const { queued, running } = this.depth();
    metrics.queued.set(queued);
    metrics.running.set(running);
    matcher.onCapacity();
  }

  async #pullCancellations(): Promise<void> {
    const { takeover, logger } = this.#components;
    await takeover.pullCancellations().catch((error: unknown) => {
      logFailure(logger, error, "cancellations of other coordinators not read; trying again");
    });
  }

  async #expireOverdue(): Promise<void> {
    const { store, leases, peers, clock, logger } = this.#components;
    try {
      for (const overdue of await store.overdueTasks({ now: clock.now(), owner: peers.self, limit: PAGE })) {
        const assignment = leases.ofTask(overdue.id);
        // A result that arrived in time is checked, not thrown away.
        if (assignment?.phase === "checking") continue;
        try {
          await leases.update(overdue.id, (task) => expire(task, clock.now(), peers.self));
        } catch (error) {
          // Another write ended it meanwhile; the next look finds what is left to do.
          if (hasMovedOn(error)) continue;
          throw error;
        }
        if (!assignment) continue;
        assignment.node.link?.cancel(assignment.id, "DEADLINE");
        leases.forget(assignment);
      }
    } catch (error) {
      logFailure(logger, error, "overdue tasks not ended; trying again");
    }
  }
}
