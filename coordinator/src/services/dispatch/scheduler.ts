import { type Address, addressBytes, type Hex, type TaskKindName } from "@proof-of-compute/proto";
import { writeTaskSpec } from "@proof-of-compute/proto/kinds";
import type { Logger } from "pino";
import { ComputeError, hasMovedOn } from "../../domain/errors.ts";
import { cancel, expire, type Task } from "../../domain/task.ts";
import type { CoordinatorKinds } from "../../kinds/index.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Nudge, PeerLink } from "../../ports/peers.ts";
import type { Store } from "../../ports/store.ts";
import { newId } from "../../util/ids.ts";
import { logFailure } from "../../util/log-failure.ts";
import type { Peers } from "../cluster/peers.ts";
import type { Takeover } from "../cluster/takeover.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Metrics } from "../metrics.ts";
import type { TaskEvents } from "../watch/task-events.ts";
import type { Leases } from "./leases.ts";
import { Matcher } from "./matcher.ts";
import { waitingReason } from "./waiting-reason.ts";

/** Overdue tasks ended at once. */
const PAGE = 256;
/** Between two looks for tasks that were cancelled at another coordinator. */
const CANCELLED_MS = 1_000;
/** What peers say of the queue is looked after so often at most. */
const NUDGED_MS = 50;

export interface SchedulerComponents {
  readonly store: Store;
  readonly kinds: CoordinatorKinds;
  readonly fleet: Fleet;
  readonly leases: Leases;
  readonly takeover: Takeover;
  readonly events: TaskEvents;
  readonly peers: Pick<Peers, "self" | "alive" | "others" | "addressOf" | "look">;
  readonly link: Pick<PeerLink, "nudge">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface SchedulerInit {
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  /** Tasks that may wait in all, and of one requester. */
  readonly maxQueued: number;
  readonly maxQueuedPerRequester: number;
  readonly allowSelfTasks: boolean;
  /** Stands in every spec; undefined: settlement is off. */
  readonly contract: { readonly chainId: number; readonly address: Address } | undefined;
}

/** What a requester asks for. */
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

/**
 * Takes tasks from requesters and sees that each comes to an end: the {@link Matcher} gives them to nodes, {@link Leases}
 * follows what becomes of each attempt, {@link Takeover} takes over what other coordinators leave behind.
 */
export class Scheduler {
  readonly #components: SchedulerComponents;
  readonly #init: SchedulerInit;
  readonly #matcher: Matcher;
  #draining = false;
  #takingOver: Promise<void> | undefined;
  #takeOverAgain = false;
  #stops: (() => void)[] = [];

  constructor(components: SchedulerComponents, init: SchedulerInit) {
    this.#components = components;
    this.#init = init;
    this.#matcher = new Matcher(components, init);
  }

  /** Takes up what earlier runs left: live assignments get the lease time for their nodes to come back. */
  async start(): Promise<void> {
    const { leases, takeover, peers, clock, logger } = this.#components;
    leases.start((before, after) => this.#matcher.onTaskChanged(before, after));
    const running = await takeover.takeOverOrphans();
    await this.#matcher.start();
    const { queued } = this.depth();
    if (running > 0 || queued > 0) logger.info({ running, queued }, "tasks taken up");
    this.#stops = [
      clock.every(this.#init.heartbeatMs / 2, () => this.#tick()),
      clock.every(1_000, () => void this.#expireOverdue()),
      clock.every(CANCELLED_MS, () => peers.others().length > 0 && void this.#learnCancelled()),
      // Whatever a lost answer or a failed write left behind.
      clock.every(this.#init.leaseMs, () => void this.takeOver()),
    ];
  }

  stop(): void {
    this.drain();
    for (const stop of this.#stops.splice(0)) stop();
  }

  /** No new leases and no new tasks from now on. */
  drain(): void {
    this.#draining = true;
    this.#matcher.stop();
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  /** Stores a task; when a node fits, the same write leases it. With a taken id the stored task comes back. */
  async submit(request: TaskRequest): Promise<{ task: Task; created: boolean }> {
    const { clock, store, leases, events, metrics } = this.#components;
    if (this.#draining) throw new ComputeError("DRAINING");
    const now = clock.now();
    const deadline = now + request.deadlineMs;
    let task: Task = {
      id: request.id ?? newId(),
      version: 1,
      requester: request.requester,
      kind: request.kind,
      spec: this.#encodeSpec(request, deadline),
      state: "queued",
      createdAt: now,
      deadline,
      notBefore: now,
      attempts: 0,
      assignments: {},
      ...(request.requestDigest && { requestDigest: request.requestDigest }),
    };
    const node = this.#matcher.queue.size === 0 ? this.#matcher.pick(task) : undefined;
    const full = node ? undefined : this.#full(request.requester);
    if (full !== undefined) {
      const stored = request.id && (await store.task(request.id));
      if (stored) return { task: stored, created: false };
      throw new ComputeError("QUEUE_FULL", full);
    }
    const run = node && this.#matcher.reserve(node, task);
    if (run) task = { ...run.task, version: 1 };
    let outcome: { task: Task; created: boolean };
    try {
      outcome = await store.insertTask(task);
    } catch (error) {
      if (run) leases.forget(run);
      throw error;
    }
    if (!outcome.created) {
      if (run) leases.forget(run);
      return outcome;
    }
    metrics.tasksSubmitted.inc();
    if (run) leases.push(run, task);
    else this.#matcher.onQueued(task);
    events.publish(task.id);
    return outcome;
  }

  /**
   * Cancels a task of any state that is not final, whichever coordinator runs it. A running one ends once its node said
   * that it stopped.
   */
  async cancel(taskId: Hex): Promise<Task> {
    const { leases, clock, peers, link } = this.#components;
    const before = await leases.read(taskId);
    if (before.state === "cancelling" || before.state === "cancelled") return before;
    const task = await leases.update(taskId, (current) => cancel(current, clock.now()));
    if (task.state !== "cancelling") return task;
    const run = leases.ofTask(taskId);
    run?.node.link?.cancel(run.id, "REQUESTED");
    const address = task.owner && peers.addressOf(task.owner);
    if (address !== undefined) link.nudge(address, { tasks: [taskId] });
    return task;
  }

  /** A peer said that something may concern this coordinator. */
  nudged({ queue, tasks }: Nudge): void {
    if (tasks !== undefined) void this.#learnCancelled();
    if (queue && this.#components.fleet.freeCapacity(1) > 0) this.#matcher.pollQueue(NUDGED_MS);
  }

  /**
   * Takes over what coordinators that are gone ran, and looks at the queue that they served; once more for whoever asks
   * while that is under way.
   */
  takeOver(): Promise<void> {
    this.#takeOverAgain = true;
    this.#takingOver ??= this.#takeOver();
    return this.#takingOver;
  }

  /** Why a queued task waits, for its requester; undefined when it does not. */
  waitingReason(task: Task): string | undefined {
    const { clock, fleet, kinds } = this.#components;
    const { allowSelfTasks } = this.#init;
    const online = [...fleet.offers(), ...this.#matcher.remoteOffers];
    return waitingReason(task, { now: clock.now(), kinds, online, allowSelfTasks, queued: this.#matcher.queue.size });
  }

  /** 0 to 1, of the live assignment; undefined when there is none here. */
  progress(taskId: Hex): number | undefined {
    return this.#components.leases.ofTask(taskId)?.progress;
  }

  /** Tasks that wait, as far as is known here, and assignments that are live here. */
  depth(): { queued: number; running: number } {
    return { queued: this.#matcher.queue.size, running: this.#components.leases.size };
  }

  /** A node has room for work. */
  onCapacity(): void {
    this.#matcher.onCapacity();
  }

  /** Why no more tasks may wait, or undefined while they may. */
  #full(requester: Address): string | undefined {
    const { maxQueued, maxQueuedPerRequester } = this.#init;
    const { queue } = this.#matcher;
    if (queue.size >= maxQueued) return `${queue.size} tasks wait already, the most that may`;
    const depth = queue.depth(requester);
    return depth >= maxQueuedPerRequester ? `${depth} of your tasks wait already, the most of one wallet` : undefined;
  }

  #encodeSpec({ requester, kind, spec }: TaskRequest, deadline: number): Uint8Array {
    const { contract } = this.#init;
    const terms = {
      chainId: BigInt(contract?.chainId ?? 0),
      contract: contract ? addressBytes(contract.address) : new Uint8Array(),
      requester: addressBytes(requester),
      deadline: BigInt(deadline),
    };
    return writeTaskSpec(terms, this.#components.kinds.get(kind)!.protocol, spec);
  }

  async #takeOver(): Promise<void> {
    const { takeover, peers, store, logger } = this.#components;
    while (this.#takeOverAgain) {
      this.#takeOverAgain = false;
      try {
        const tasks = await takeover.takeOverOrphans();
        await peers.look();
        const nodes = await store.releaseNodes(peers.alive());
        if (tasks > 0 || nodes > 0) logger.warn({ tasks, nodes }, "took over from a coordinator that is gone");
        await takeover.reconcile();
      } catch (error) {
        logFailure(logger, error, "what others left behind was not taken over; trying again");
      }
      this.#matcher.pollQueue(0);
    }
    this.#takingOver = undefined;
  }

  #tick(): void {
    const { leases, metrics } = this.#components;
    leases.withdrawSilent();
    const { queued, running } = this.depth();
    metrics.queued.set(queued);
    metrics.running.set(running);
    this.onCapacity();
  }

  async #learnCancelled(): Promise<void> {
    const { takeover, logger } = this.#components;
    await takeover.pullCancellations().catch((error: unknown) => {
      logFailure(logger, error, "what was cancelled elsewhere was not read; trying again");
    });
  }

  async #expireOverdue(): Promise<void> {
    const { store, leases, peers, clock, logger } = this.#components;
    try {
      for (const overdue of await store.overdueTasks({ now: clock.now(), owner: peers.self, limit: PAGE })) {
        const run = leases.ofTask(overdue.id);
        // A result that is here in time is judged, not thrown away.
        if (run?.phase === "checking") continue;
        try {
          await leases.update(overdue.id, (task) => expire(task, clock.now(), peers.self));
        } catch (error) {
          // Somebody else ended it in between; the next look finds what is left to do.
          if (hasMovedOn(error)) continue;
          throw error;
        }
        if (run) {
          run.node.link?.cancel(run.id, "DEADLINE");
          leases.forget(run);
        }
      }
    } catch (error) {
      logFailure(logger, error, "overdue tasks not ended; trying again");
    }
  }
}
