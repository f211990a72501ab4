import { randomFillSync } from "node:crypto";
import { type Address, addressBytes, type Hex, matmulUnits, toHex } from "@proof-of-compute/proto";
import { TaskSpec } from "@proof-of-compute/proto/task";
import type { Logger } from "pino";
import { v7 as uuidv7 } from "uuid";
import { ComputeError } from "../domain/errors.ts";
import { assign, cancel, expire, isFinal, type Task } from "../domain/task.ts";
import type { Metrics } from "../metrics.ts";
import type { Clock } from "../ports/clock.ts";
import type { Nudge, PeerLink } from "../ports/peers.ts";
import type { Store } from "../ports/store.ts";
import type { Attempts } from "./attempts.ts";
import type { Fleet } from "./fleet.ts";
import { isFastEnough, type LiveNode, type Run } from "./live-node.ts";
import { matmulOf } from "./matmul-spec.ts";
import type { Peers } from "./peers.ts";
import { Queue } from "./queue.ts";
import type { TaskEvents } from "./task-events.ts";
import { waitingReason } from "./waiting-reason.ts";

/** Queued tasks read at once. */
const PAGE = 256;
/** Queued tasks looked at for one round of assignments when those in front fit no node. */
const LOOK_AHEAD = 2_048;
/** Requesters whose tasks are read at once. */
const MAX_TURN = 16;
/** Between two looks at what waits in the store, while other coordinators put it there. */
const LOOK_MS = 1_000;
/** What peers say of the queue is looked after so often at most. */
const NUDGED_MS = 50;
/** Wait before a write is tried again while the store is away. */
const RETRY_STORE_MS = 1_000;
/** Tasks of at most so many units take milliseconds: to carry each by itself would cost more than to compute it. */
const TINY_UNITS = 64n;

export interface SchedulerComponents {
  readonly store: Store;
  readonly fleet: Fleet;
  readonly attempts: Attempts;
  readonly events: TaskEvents;
  readonly peers: Pick<Peers, "self" | "alive" | "others" | "addressOf">;
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
  readonly #queue = new Queue();
  #lookedAt = 0;
  #looking: Promise<void> | undefined;
  #filling = false;
  #fillAgain = false;
  #draining = false;
  #stops: (() => void)[] = [];
  #wake: { readonly at: number; readonly stop: () => void } | undefined;

  constructor(components: SchedulerComponents, init: SchedulerInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Takes up what earlier runs left: live assignments get the lease time for their nodes to come back. */
  async start(): Promise<void> {
    const { attempts, peers, store, clock, logger } = this.#components;
    attempts.start((before, after) => this.#moved(before, after));
    await this.#queue.refresh(() => store.queueDepths());
    const running = await attempts.takeOver(peers.alive());
    if (running > 0 || this.#queue.size > 0) logger.info({ running, queued: this.#queue.size }, "tasks taken up");
    this.#stops = [
      clock.every(this.#init.heartbeatMs / 2, () => this.#tick()),
      clock.every(1_000, () => void this.#expireOverdue()),
      // Whatever a lost answer or a failed write left behind.
      clock.every(this.#init.leaseMs, () => void this.peersChanged()),
      clock.every(LOOK_MS / 2, () => peers.others().length > 0 && this.#look(LOOK_MS)),
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
    const { clock, store, fleet, attempts, events, metrics } = this.#components;
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
    const node = this.#queue.size === 0 ? this.#pick(task, request.spec) : undefined;
    const full = node ? undefined : this.#full(request.requester);
    if (full !== undefined) {
      const stored = request.id && (await store.task(request.id));
      if (stored) return { task: stored, created: false };
      throw new ComputeError("QUEUE_FULL", full);
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
      this.#queue.add(task.requester, 1);
      this.room();
      if (fleet.room(1) === 0) this.#tellPeers();
    }
    events.publish(task.id);
    return outcome;
  }

  /**
   * Cancels a task of any state that is not final, whichever coordinator runs it. A running one ends once its node said
   * that it stopped.
   */
  async cancel(taskId: Hex): Promise<Task> {
    const { attempts, clock, peers, link } = this.#components;
    const before = await attempts.read(taskId);
    if (before.state === "cancelling" || before.state === "cancelled") return before;
    const task = await attempts.update(taskId, (current) => cancel(current, clock.now()));
    if (task.state !== "cancelling") return task;
    const run = attempts.ofTask(taskId);
    run?.node.link?.cancel(run.assignment.id, "REQUESTED");
    const address = task.owner && peers.addressOf(task.owner);
    if (address !== undefined) link.nudge(address, { tasks: [taskId] });
    return task;
  }

  /** A peer said that something may concern this coordinator. */
  nudged(nudge: Nudge): void {
    const { fleet, attempts } = this.#components;
    if (nudge.tasks !== undefined) attempts.learnCancelled().catch((error: unknown) => this.#complain(error));
    if (nudge.queue && fleet.room(1) > 0) this.#look(NUDGED_MS);
  }

  /** Other coordinators came or went: takes over what those that are gone ran, and the queue that they served. */
  async peersChanged(): Promise<void> {
    const { attempts, peers, store, logger } = this.#components;
    try {
      const nodes = await store.releaseNodes(peers.alive());
      const tasks = await attempts.takeOver(peers.alive());
      if (tasks > 0 || nodes > 0) logger.warn({ tasks, nodes }, "took over from a coordinator that is gone");
    } catch (error) {
      this.#complain(error);
    }
    this.#look(0);
  }

  /** Why a queued task waits, for its requester; undefined when it does not. */
  waitingReason(task: Task): string | undefined {
    const { clock, fleet } = this.#components;
    const { allowSelfTasks } = this.#init;
    return waitingReason(task, {
      now: clock.now(),
      online: [...fleet.wallets()],
      allowSelfTasks,
      queued: this.#queue.size,
    });
  }

  /** 0 to 1, of the live assignment; undefined when there is none. */
  progress(taskId: Hex): number | undefined {
    return this.#components.attempts.ofTask(taskId)?.progress;
  }

  depth(): { queued: number; running: number } {
    return { queued: this.#queue.size, running: this.#components.attempts.size };
  }

  /** A node has room for work. */
  room(): void {
    if (this.#queue.size === 0 || this.#draining) return;
    if (this.#filling) {
      this.#fillAgain = true;
      return;
    }
    this.#filling = true;
    setImmediate(() => void this.#fill());
  }

  /** Why no more tasks may wait, or undefined while they may. */
  #full(requester: Address): string | undefined {
    const { maxQueued, maxQueuedPerRequester } = this.#init;
    if (this.#queue.size >= maxQueued) return `${this.#queue.size} tasks wait already, the most that may`;
    const depth = this.#queue.depth(requester);
    return depth >= maxQueuedPerRequester ? `${depth} of your tasks wait already, the most of one wallet` : undefined;
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
    const { self } = this.#components.peers;
    const task = assign(queued, { id, nodeId: node.id, wallet: node.offer.wallet, assignedAt }, self);
    return this.#components.attempts.open(task, node, "sent");
  }

  async #fill(): Promise<void> {
    const { clock, logger } = this.#components;
    try {
      do {
        this.#fillAgain = false;
        await this.#deal();
      } while (this.#fillAgain && !this.#draining);
    } catch (error) {
      logger.warn({ err: error }, "queued tasks not read; trying again");
      this.#wakeAt(clock.now() + RETRY_STORE_MS);
    } finally {
      this.#filling = false;
    }
  }

  /** Gives the room that nodes have to the requesters in turn, until there is no room or nothing that fits it. */
  async #deal(): Promise<void> {
    const { store, fleet, peers, clock } = this.#components;
    const passed: Hex[] = [];
    const exhausted = new Set<Address>();
    for (let room = fleet.room(PAGE); room > 0 && !this.#draining; room = fleet.room(PAGE)) {
      const requesters = this.#queue.turn(Math.min(room, MAX_TURN), exhausted);
      if (requesters.length === 0 || passed.length >= LOOK_AHEAD) return;
      // Others look at the same queue: from more tasks than are wanted each takes some at random.
      const limit = Math.ceil(room / requesters.length) * (1 + peers.others().length);
      const excluded = [...passed, ...this.#busy];
      const page = await store.queuedTasks({ requesters, now: clock.now(), limit, excluded });
      const queues = new Map(requesters.map((requester) => [requester, [] as Task[]]));
      for (const task of page) queues.get(task.requester)!.push(task);
      for (const [requester, tasks] of queues) {
        if (tasks.length < limit) exhausted.add(requester);
        if (peers.others().length > 0) this.#shuffle(tasks);
      }
      for (const task of inTurn([...queues.values()])) {
        if (fleet.room(1) === 0) return;
        if (!this.#lease(task)) passed.push(task.id);
      }
    }
  }

  #shuffle(tasks: Task[]): void {
    for (let last = tasks.length - 1; last > 0; last--) {
      const other = Math.floor(this.#components.random() * (last + 1));
      [tasks[last], tasks[other]] = [tasks[other]!, tasks[last]!];
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
        this.#queue.add(queued.requester, -1);
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
    this.#queue.add(after.requester, Number(after.state === "queued") - Number(before.state === "queued"));
    if (after.state === "queued") this.#wakeAt(after.notBefore);
  }

  #tick(): void {
    this.#components.attempts.withdrawSilent();
    const { queued, running } = this.depth();
    this.#components.metrics.queued.set(queued);
    this.#components.metrics.running.set(running);
    this.room();
  }

  /** Tells the others that tasks wait here which none of the nodes here can take now. */
  #tellPeers(): void {
    const { peers, link } = this.#components;
    for (const { address } of peers.others()) link.nudge(address, { queue: true });
  }

  /** Looks at what other coordinators left in the store, unless the last look was less than `restMs` ago. */
  #look(restMs: number): void {
    const { clock } = this.#components;
    const since = clock.monotonic() - this.#lookedAt;
    if (this.#looking || this.#draining || since < restMs) return;
    this.#lookedAt = clock.monotonic() + (this.#components.random() - 0.5) * 0.5 * restMs;
    this.#looking = this.#lookAround()
      .catch((error: unknown) => this.#complain(error))
      .finally(() => {
        this.#looking = undefined;
      });
  }

  async #lookAround(): Promise<void> {
    const { store, attempts } = this.#components;
    await this.#queue.refresh(() => store.queueDepths());
    this.room();
    if (attempts.size > 0) await attempts.learnCancelled();
  }

  #complain(error: unknown): void {
    this.#components.logger.warn({ err: error }, "what other coordinators left was not read; trying again");
  }

  async #expireOverdue(): Promise<void> {
    const { store, attempts, peers, clock, logger } = this.#components;
    try {
      for (const overdue of await store.overdueTasks({ now: clock.now(), owner: peers.self, limit: PAGE })) {
        const run = attempts.ofTask(overdue.id);
        // A result that is here in time is judged, not thrown away.
        if (run?.phase === "checking" || isFinal(overdue)) continue;
        try {
          await attempts.update(overdue.id, (task) => expire(task, clock.now(), peers.self));
        } catch (error) {
          // Somebody else ended it in between; the next look finds what is left to do.
          if (error instanceof ComputeError && (error.code === "CONFLICT" || error.code === "NOT_FOUND")) continue;
          throw error;
        }
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

/** One of each list, then the next of each. */
function* inTurn(lists: readonly (readonly Task[])[]): Iterable<Task> {
  const longest = Math.max(...lists.map((list) => list.length));
  for (let index = 0; index < longest; index++) {
    for (const list of lists) if (index < list.length) yield list[index]!;
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
