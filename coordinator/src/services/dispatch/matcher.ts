import type { Address, Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { assign, type Task } from "../../domain/task.ts";
import { type CoordinatorKind, type CoordinatorKinds, type KnownSpec, specOf } from "../../kinds/index.ts";
import type { Clock } from "../../ports/clock.ts";
import type { NodeStore } from "../../ports/nodes.ts";
import type { PeerLink } from "../../ports/peers.ts";
import type { TaskStore } from "../../ports/tasks.ts";
import { Coalescer } from "../../util/coalescer.ts";
import { newId } from "../../util/ids.ts";
import { logFailure } from "../../util/log-failure.ts";
import type { Peers } from "../cluster/peers.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { LiveNode } from "../fleet/live-node.ts";
import { isFastEnough, type Offer, offerOf } from "../fleet/offer.ts";
import type { TaskEvents } from "../watch/task-events.ts";
import type { Leases } from "./leases.ts";
import {
  IDLE_FACTOR,
  LOOK_AHEAD,
  MAX_TURN,
  PAGE,
  QUEUE_POLL_MS,
  REMOTE_NODES,
  STORE_RETRY_MS,
  STRIDE,
} from "./limits.ts";
import { Queue } from "./queue.ts";

export interface MatcherComponents {
  readonly store: Pick<TaskStore, "saveTask" | "queuedTasks" | "queueDepths"> & Pick<NodeStore, "nodes">;
  readonly kinds: CoordinatorKinds;
  readonly fleet: Pick<Fleet, "find" | "freeCapacity">;
  readonly leases: Pick<Leases, "open" | "push" | "forget">;
  readonly events: Pick<TaskEvents, "publish">;
  readonly peers: Pick<Peers, "self" | "others">;
  readonly link: Pick<PeerLink, "nudge">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface MatcherInit {
  readonly allowSelfTasks: boolean;
}

type Work = KnownSpec<CoordinatorKind>;

/**
 * The fastest free node that unsuccessful searches have seen, by kind and by kind and requester, so that tasks which need a
 * faster one are not searched for.
 */
type Misses = Map<string, number>;

/**
 * Matches tasks with nodes: a new task at once when nothing waits, queued ones whenever nodes have capacity, the requesters in
 * turn. With several coordinators each takes from the one queue in the store: a guarded write decides who gets a task, and
 * polling finds what the others queued.
 */
export class Matcher {
  readonly #components: MatcherComponents;
  readonly #init: MatcherInit;
  readonly queue = new Queue();
  readonly #fill = new Coalescer(() => this.#fillCapacity());
  #isFillDue = false;
  /** The node that was given a tiny task in this event-loop turn. */
  #tinyNode: LiveNode | undefined;
  readonly #poll = new Coalescer(() => this.#refresh());
  #remoteOffers: readonly Pick<Offer, "wallet" | "offers">[] = [];
  /** Tasks whose leases are being written, so that no other round takes them. */
  readonly #leasing = new Set<Hex>();
  /** Monotonic: nothing is matched before, because the store refuses writes or nothing fits. */
  #restUntil = 0;
  #isStopped = false;
  #wake: { readonly at: number; readonly stop: () => void } | undefined;
  /** Monotonic. */
  #polledAt = Number.NEGATIVE_INFINITY;
  #nodesReadAt = Number.NEGATIVE_INFINITY;
  #stopTimer: (() => void) | undefined;

  constructor(components: MatcherComponents, init: MatcherInit) {
    this.#components = components;
    this.#init = init;
  }

  /** What nodes of other coordinators offer, as far as known. */
  get remoteOffers(): readonly Pick<Offer, "wallet" | "offers">[] {
    return this.#remoteOffers;
  }

  async start(): Promise<void> {
    const { store, clock, peers } = this.#components;
    await this.queue.refresh(() => store.queueDepths());
    this.#stopTimer = clock.every(QUEUE_POLL_MS / 2, () => peers.others().length > 0 && this.pollQueue(QUEUE_POLL_MS));
    this.onCapacity();
  }

  /** Nothing is matched from now on. */
  stop(): void {
    this.#isStopped = true;
    this.#stopTimer?.();
    this.#wake?.stop();
    this.#wake = undefined;
  }

  /**
   * Decides where a new task goes: to a node, whose capacity the returned assignment takes from now on, or, when undefined is
   * returned, into the queue. The lease is still to be written.
   */
  place(task: Task, work: Work): ActiveAssignment | undefined {
    return this.queue.size === 0 ? this.#reserve(task, work) : undefined;
  }

  /** Nodes may be given more than before. */
  onCapacity(): void {
    if (this.queue.size === 0 || this.#isStopped || this.#isFillDue) return;
    // What one event-loop turn brings is matched together.
    this.#isFillDue = true;
    setImmediate(() => {
      this.#isFillDue = false;
      void this.#fill.request();
    });
  }

  /** A change of a task was stored: the queue counts along, and wakes for what has to wait. */
  onTaskChanged(before: Task, after: Task): void {
    this.queue.add(after.requester, Number(after.state === "queued") - Number(before.state === "queued"));
    if (after.state === "queued") this.#wakeAt(after.notBefore);
  }

  /** A new task was queued. When no node here has capacity, the other coordinators hear of it. */
  onQueued(task: Task): void {
    const { fleet, peers, link } = this.#components;
    this.queue.add(task.requester, 1);
    this.onCapacity();
    if (fleet.freeCapacity(1) > 0) return;
    for (const { address } of peers.others()) link.nudge(address, { queue: true });
  }

  /** Looks for tasks that other coordinators queued, unless the last look was less than `restMs` ago. */
  pollQueue(restMs: number): void {
    const { clock, random } = this.#components;
    if (this.#isStopped || clock.monotonic() - this.#polledAt < restMs) return;
    // Jittered, so that coordinators do not look at the same moment.
    this.#polledAt = clock.monotonic() + (random() - 0.5) * 0.5 * restMs;
    void this.#poll.request();
  }

  get #isResting(): boolean {
    return this.#components.clock.monotonic() < this.#restUntil;
  }

  /** Takes the capacity of a node that fits, before the lease is written, so that no other write takes it; undefined without one. */
  #reserve(queued: Task, work: Work, misses: Misses = new Map()): ActiveAssignment | undefined {
    const { leases, clock, peers } = this.#components;
    const node = this.#find(queued, work, misses);
    if (!node) return undefined;
    const attempt = { id: newId(), nodeId: node.id, wallet: node.offer.wallet, assignedAt: clock.now() };
    return leases.open(assign(queued, attempt, peers.self), work, node, "reserved");
  }

  #find(task: Task, { kind, spec }: Work, misses: Misses): LiveNode | undefined {
    const { maxUnits } = kind.protocol.bounds(spec);
    const left = task.deadline - this.#components.clock.now();
    const isEnough = (unitsPerSecond: number) => isFastEnough({ unitsPerSecond }, maxUnits, left);
    const classes = [task.kind, `${task.kind}/${task.requester}`] as const;
    if (classes.some((each) => misses.has(each) && !isEnough(misses.get(each)!))) return undefined;
    const fastest = { all: 0, allowed: 0 };
    const fits = ({ offer }: LiveNode): boolean => {
      const rate = offerOf(offer, task.kind)?.unitsPerSecond ?? Number.POSITIVE_INFINITY;
      fastest.all = Math.max(fastest.all, rate);
      if (!this.#init.allowSelfTasks && offer.wallet === task.requester) return false;
      fastest.allowed = Math.max(fastest.allowed, rate);
      return isEnough(rate);
    };
    const tried = new Set(Object.values(task.assignments).map(({ nodeId }) => nodeId));
    const isTiny = kind.protocol.isTiny?.(spec) ?? false;
    const preferred = isTiny ? this.#tinyNode : undefined;
    const node = this.#components.fleet.find({ kind: task.kind, tried, fits, preferred });
    if (!node) misses.set(classes[0], fastest.all).set(classes[1], fastest.allowed);
    if (isTiny) this.#prefer(node);
    return node;
  }

  /** Tiny tasks of one event-loop turn go to one node as far as it has capacity: they, and later their results, share a frame. */
  #prefer(node: LiveNode | undefined): void {
    if (node && !this.#tinyNode) {
      setImmediate(() => {
        this.#tinyNode = undefined;
      });
    }
    this.#tinyNode = node;
  }

  async #fillCapacity(): Promise<void> {
    const { clock, logger } = this.#components;
    if (this.#isResting) return this.#wakeAt(clock.now() + this.#restUntil - clock.monotonic());
    const startedAt = clock.monotonic();
    try {
      const { placed, passed } = await this.#matchQueued();
      if (placed > 0 || passed === 0) return;
      const now = clock.monotonic();
      this.#restUntil = Math.max(this.#restUntil, now + IDLE_FACTOR * (now - startedAt));
    } catch (error) {
      logFailure(logger, error, "queued tasks not read; trying again");
      this.#rest();
    }
  }

  /** Gives capacity to the requesters in turn, until there is none or nothing that fits it. */
  async #matchQueued(): Promise<{ placed: number; passed: number }> {
    const { store, fleet, peers, clock, kinds, random } = this.#components;
    const misses: Misses = new Map();
    const passed: Hex[] = [];
    const exhausted = new Set<Address>();
    let placed = 0;
    let depth = 1;
    for (let free = fleet.freeCapacity(PAGE); free > 0 && this.#matches; free = fleet.freeCapacity(PAGE)) {
      const requesters = this.queue.turn(Math.min(free, MAX_TURN), exhausted);
      if (requesters.length === 0 || passed.length >= LOOK_AHEAD) break;
      // Others take from the same queue: each takes some at random out of more tasks than it needs.
      const crowd = 1 + peers.others().length;
      const limit = Math.min(PAGE * crowd, Math.ceil(free / requesters.length) * crowd * depth);
      const excluded = [...passed, ...this.#leasing];
      const page = await store.queuedTasks({ requesters, now: clock.now(), limit, excluded });
      const queues = new Map(requesters.map((requester) => [requester, [] as Task[]]));
      for (const task of page) queues.get(task.requester)!.push(task);
      for (const [requester, tasks] of queues) {
        if (tasks.length < limit) exhausted.add(requester);
        if (crowd > 1) shuffle(tasks, random);
      }
      const before = passed.length;
      for (const task of inTurn([...queues.values()])) {
        if (fleet.freeCapacity(1) === 0) break;
        // A task of a kind that is not known here is left to other coordinators.
        const work = specOf(task, kinds);
        const assignment = work && this.#reserve(task, work, misses);
        if (assignment) {
          placed++;
          void this.#lease(assignment);
        } else passed.push(task.id);
      }
      // Skips tasks that fit no node here in longer and longer strides.
      depth = passed.length - before === page.length ? depth * STRIDE : 1;
    }
    return { placed, passed: passed.length };
  }

  get #matches(): boolean {
    return !this.#isStopped && !this.#isResting;
  }

  /** Writes the lease of a queued task, and sends the assignment once it is stored. */
  async #lease(assignment: ActiveAssignment): Promise<void> {
    const { leases, store, events, logger } = this.#components;
    const { task } = assignment;
    this.#leasing.add(task.id);
    try {
      if (!(await store.saveTask(task))) return leases.forget(assignment);
      this.queue.add(task.requester, -1);
      leases.push(assignment, task);
      events.publish(task.id);
    } catch (error) {
      logFailure(logger, error, "lease not stored", { taskId: task.id });
      this.#rest();
      leases.forget(assignment);
    } finally {
      this.#leasing.delete(task.id);
    }
  }

  async #refresh(): Promise<void> {
    const { store, peers, clock, logger } = this.#components;
    try {
      await this.queue.refresh(() => store.queueDepths());
      this.onCapacity();
      if (peers.others().length === 0) this.#remoteOffers = [];
      else if (this.queue.size > 0 && clock.monotonic() - this.#nodesReadAt > REMOTE_NODES.maxAgeMs) {
        this.#nodesReadAt = clock.monotonic();
        const { items } = await store.nodes({ status: "online", limit: REMOTE_NODES.limit });
        this.#remoteOffers = items.filter(({ owner }) => owner.coordinatorId !== peers.self.coordinatorId);
      }
    } catch (error) {
      logFailure(logger, error, "the queue was not read; trying again");
    }
  }

  /** The store refuses: tries again after a while. */
  #rest(): void {
    const { clock } = this.#components;
    this.#restUntil = clock.monotonic() + STORE_RETRY_MS;
    this.#wakeAt(clock.now() + STORE_RETRY_MS);
  }

  #wakeAt(at: number): void {
    if (this.#isStopped || (this.#wake && this.#wake.at <= at)) return;
    this.#wake?.stop();
    const stop = this.#components.clock.after(Math.max(1, at - this.#components.clock.now()), () => {
      this.#wake = undefined;
      this.onCapacity();
    });
    this.#wake = { at, stop };
  }
}

function shuffle(tasks: Task[], random: () => number): void {
  for (let last = tasks.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [tasks[last], tasks[other]] = [tasks[other]!, tasks[last]!];
  }
}

/** One of each list, then the next of each. */
function* inTurn(lists: readonly (readonly Task[])[]): Iterable<Task> {
  const longest = Math.max(...lists.map((list) => list.length));
  for (let index = 0; index < longest; index++) {
    for (const list of lists) if (index < list.length) yield list[index]!;
  }
}
