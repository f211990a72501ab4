import { randomFillSync } from "node:crypto";
import { type Address, addressBytes, type Hex, matmulUnits, toHex } from "@proof-of-compute/proto";
import { TaskSpec } from "@proof-of-compute/proto/task";
import type { Logger } from "pino";
import { v7 as uuidv7 } from "uuid";
import { ComputeError } from "../domain/errors.ts";
import { assign, cancel, expire, isFinal, type Task } from "../domain/task.ts";
import type { Metrics } from "../metrics.ts";
import type { Clock } from "../ports/clock.ts";
import type { Store } from "../ports/store.ts";
import type { Attempts } from "./attempts.ts";
import type { Fleet } from "./fleet.ts";
import { isFastEnough, type LiveNode, type Run } from "./live-node.ts";
import { matmulOf } from "./matmul-spec.ts";
import type { TaskEvents } from "./task-events.ts";
import { waitingReason } from "./waiting-reason.ts";

/** Queued tasks read at once. */
const PAGE = 256;
/** Queued tasks looked at for one round of assignments when those in front fit no node. */
const LOOK_AHEAD = 2_048;
/** Wait before a write is tried again while the store is away. */
const RETRY_STORE_MS = 1_000;
/** Tasks of at most so many units take milliseconds: to carry each by itself would cost more than to compute it. */
const TINY_UNITS = 64n;

export interface SchedulerComponents {
  readonly store: Store;
  readonly fleet: Fleet;
  readonly attempts: Attempts;
  readonly events: TaskEvents;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface SchedulerInit {
  readonly heartbeatMs: number;
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

/** Takes tasks from requesters and gives them to nodes; what becomes of each attempt is {@link Attempts}' matter. */
export class Scheduler {
  readonly #components: SchedulerComponents;
  readonly #init: SchedulerInit;
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
    const { store, attempts, clock, logger } = this.#components;
    attempts.start((before, after) => this.#moved(before, after));
    this.#queued = (await store.totals()).tasks.queued;
    const live = await store.liveTasks();
    for (const task of live) await attempts.recover(task);
    if (live.length > 0 || this.#queued > 0) {
      logger.info({ running: live.length, queued: this.#queued }, "tasks taken up");
    }
    this.#stops = [
      clock.every(this.#init.heartbeatMs / 2, () => this.#tick()),
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
    const { clock, store, attempts, events, metrics } = this.#components;
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
      if (run) attempts.forget(run);
      throw error;
    }
    if (!outcome.created) {
      if (run) attempts.forget(run);
      return outcome;
    }
    metrics.tasksSubmitted.inc();
    if (run) attempts.push(run, task);
    else {
      this.#queued++;
      this.room();
    }
    events.publish(task.id);
    return outcome;
  }

  /** Cancels a task of any state that is not final. A running one ends once its node said that it stopped. */
  async cancel(taskId: Hex): Promise<Task> {
    const { attempts } = this.#components;
    const before = await attempts.read(taskId);
    if (before.state === "cancelling" || before.state === "cancelled") return before;
    const task = await attempts.update(taskId, cancel);
    const run = attempts.ofTask(taskId);
    if (run && task.state === "cancelling") run.node.link?.cancel(run.assignment.id, "REQUESTED");
    return task;
  }

  /** Why a queued task waits, for its requester; undefined when it does not. */
  waitingReason(task: Task): string | undefined {
    const { clock, fleet } = this.#components;
    const { allowSelfTasks } = this.#init;
    return waitingReason(task, {
      now: clock.now(),
      online: [...fleet.wallets()],
      allowSelfTasks,
      queued: this.#queued,
    });
  }

  /** 0 to 1, of the live assignment; undefined when there is none. */
  progress(taskId: Hex): number | undefined {
    return this.#components.attempts.ofTask(taskId)?.progress;
  }

  depth(): { queued: number; running: number } {
    return { queued: this.#queued, running: this.#components.attempts.size };
  }

  /** A node has room for work. */
  room(): void {
    if (this.#queued === 0 || this.#draining) return;
    if (this.#filling) {
      this.#fillAgain = true;
      return;
    }
    this.#filling = true;
    setImmediate(() => void this.#fill());
  }

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
    return this.#components.attempts.open(task, node, "sent");
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
    const { attempts, store, events, logger, clock } = this.#components;
    const run = this.#reserve(node, queued);
    this.#busy.add(queued.id);
    store
      .saveTask(run.task)
      .then((won) => {
        if (!won) return attempts.forget(run);
        this.#queued--;
        attempts.push(run, run.task);
        events.publish(queued.id);
      })
      .catch((error: unknown) => {
        logger.warn({ err: error, taskId: queued.id }, "lease not stored");
        attempts.forget(run);
        this.#wakeAt(clock.now() + RETRY_STORE_MS);
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

  /** A change of a task was stored: the queue counts along, and wakes for what has to wait. */
  #moved(before: Task, after: Task): void {
    this.#queued += Number(after.state === "queued") - Number(before.state === "queued");
    if (after.state === "queued") this.#wakeAt(after.notBefore);
  }

  #tick(): void {
    this.#components.attempts.withdrawSilent();
    const { queued, running } = this.depth();
    this.#components.metrics.queued.set(queued);
    this.#components.metrics.running.set(running);
    this.room();
  }

  async #expireOverdue(): Promise<void> {
    const { store, attempts, clock, logger } = this.#components;
    try {
      for (const overdue of await store.overdueTasks(clock.now(), PAGE)) {
        const run = attempts.ofTask(overdue.id);
        // A result that is here in time is judged, not thrown away.
        if (run?.phase === "checking" || isFinal(overdue)) continue;
        await attempts.update(overdue.id, (task) => expire(task, clock.now()));
        if (run) {
          run.node.link?.cancel(run.assignment.id, "DEADLINE");
          attempts.forget(run);
        }
      }
    } catch (error) {
      logger.warn({ err: error }, "overdue tasks not ended; trying again");
    }
  }
}

/** Random bytes of ids to come: to draw 4,096 costs hardly more than to draw 16. */
const RANDOM = new Uint8Array(4_096);
let drawn = RANDOM.length;

/** A new UUIDv7: sorts by time, which keeps index pages warm. */
function newId(): Hex {
  if (drawn === RANDOM.length) {
    randomFillSync(RANDOM);
    drawn = 0;
  }
  drawn += 16;
  return toHex(uuidv7({ random: RANDOM.subarray(drawn - 16, drawn) }, new Uint8Array(16)));
}
