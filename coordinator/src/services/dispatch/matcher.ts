import type { Address, Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { assign, type Task } from "../../domain/task.ts";
import { type CoordinatorKinds, specOf } from "../../kinds/index.ts";
import type { Clock } from "../../ports/clock.ts";
import type { PeerLink } from "../../ports/peers.ts";
import type { Store } from "../../ports/store.ts";
import { newId } from "../../util/ids.ts";
import { logFailure } from "../../util/log-failure.ts";
import type { Peers } from "../cluster/peers.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { LiveNode } from "../fleet/live-node.ts";
import { isFastEnough, type Offer, offerOf } from "../fleet/offer.ts";
import type { TaskEvents } from "../watch/task-events.ts";
import type { Leases } from "./leases.ts";
import { Queue } from "./queue.ts";

/** Room of the fleet that is filled at once. */
const PAGE = 256;
/** Queued tasks looked at for one round of assignments when those in front fit no node. */
const LOOK_AHEAD = 2_048;
/** The look ahead grows so many times with each page of which nothing fitted. */
const STRIDE = 4;
/** Requesters whose tasks are read at once. */
const MAX_TURN = 16;
/** Between two looks at what waits in the store, while other coordinators put it there. */
const LOOK_MS = 1_000;
/** Nodes of other coordinators that are known, for reasons of waiting; and how long that may be old. */
const OTHER_NODES = 200;
const OTHER_NODES_MS = 5_000;
/** Wait before a write is tried again while the store is away. */
const RETRY_STORE_MS = 1_000;
/** After a round in which nothing fitted nothing is dealt for so many times as long as that round took. */
const IDLE = 3;
/** Tasks of at most so many units take milliseconds: to carry each by itself would cost more than to compute it. */
const TINY_UNITS = 64n;

export interface MatcherComponents {
  readonly store: Store;
  readonly kinds: CoordinatorKinds;
  readonly fleet: Fleet;
  readonly leases: Leases;
  readonly events: TaskEvents;
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

/**
 * Gives what waits to the nodes that have room, the requesters in turn. With several coordinators each deals from the
 * one queue in the store: a guarded write decides who has a task, and looking again finds what the others put there.
 */
export class Matcher {
  readonly #components: MatcherComponents;
  readonly #init: MatcherInit;
  readonly queue = new Queue();
  #elsewhere: readonly Pick<Offer, "wallet" | "offers">[] = [];
  /** Tasks that are being written right now, so that another round leaves them alone. */
  readonly #busy = new Set<Hex>();
  /** The node that was given a tiny task in this turn. */
  #bundling: LiveNode | undefined;
  /** Monotonic: nothing is dealt before, because the store refuses writes or nothing fits. */
  #restUntil = 0;
  #filling = false;
  #fillAgain = false;
  #stopped = false;
  #wake: { readonly at: number; readonly stop: () => void } | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #nodesReadAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #stopTimer: (() => void) | undefined;

  constructor(components: MatcherComponents, init: MatcherInit) {
    this.#components = components;
    this.#init = init;
  }

  /** What nodes of other coordinators offer, as far as known. */
  get remoteOffers(): readonly Pick<Offer, "wallet" | "offers">[] {
    return this.#elsewhere;
  }

  async start(): Promise<void> {
    const { store, clock, peers } = this.#components;
    await this.queue.refresh(() => store.queueDepths());
    this.#stopTimer = clock.every(LOOK_MS / 2, () => peers.others().length > 0 && this.pollQueue(LOOK_MS));
    this.onCapacity();
  }

  /** Nothing is dealt from now on. */
  stop(): void {
    this.#stopped = true;
    this.#stopTimer?.();
    this.#wake?.stop();
    this.#wake = undefined;
  }

  /** A node has room for work. */
  onCapacity(): void {
    const { clock } = this.#components;
    if (this.queue.size === 0 || this.#stopped) return;
    if (!this.#deals) this.#wakeAt(clock.now() + this.#restUntil - clock.monotonic());
    else if (this.#filling) this.#fillAgain = true;
    else {
      this.#filling = true;
      setImmediate(() => void this.#fill());
    }
  }

  /** A change of a task was stored: the queue counts along, and wakes for what has to wait. */
  onTaskChanged(before: Task, after: Task): void {
    this.queue.add(after.requester, Number(after.state === "queued") - Number(before.state === "queued"));
    if (after.state === "queued") this.#wakeAt(after.notBefore);
  }

  /** A task was queued here. When none of the nodes here can take it now, the others hear of it. */
  onQueued(task: Task): void {
    const { fleet, peers, link } = this.#components;
    this.queue.add(task.requester, 1);
    this.onCapacity();
    if (fleet.freeCapacity(1) > 0) return;
    for (const { address } of peers.others()) link.nudge(address, { queue: true });
  }

  /** Looks at what other coordinators left in the store, unless the last look was less than `restMs` ago. */
  pollQueue(restMs: number): void {
    const { clock, random, logger } = this.#components;
    if (this.#looking || this.#stopped || clock.monotonic() - this.#lookedAt < restMs) return;
    this.#lookedAt = clock.monotonic() + (random() - 0.5) * 0.5 * restMs;
    this.#looking = this.#look()
      .catch((error: unknown) => logFailure(logger, error, "what waits in the store was not read; trying again"))
      .finally(() => {
        this.#looking = undefined;
      });
  }

  /**
   * A node for the task. Tiny tasks of one turn go to one node as far as it has room, so that they, and after them their
   * results, travel in one frame under one signature. `fastest` is how fast nodes with room are at most, by kind and by
   * who asks, as far as a search in vain has shown: what needs a faster one is not searched for.
   */
  pick(task: Task, fastest = new Map<string, number>()): LiveNode | undefined {
    const known = specOf(task, this.#components.kinds);
    if (!known) return undefined;
    const tried = new Set(Object.values(task.assignments).map(({ nodeId }) => nodeId));
    const { maxUnits: units } = known.kind.protocol.bounds(known.spec);
    const tiny = units <= TINY_UNITS;
    const left = task.deadline - this.#components.clock.now();
    const askers = [task.kind, `${task.kind}/${task.requester}`] as const;
    const beyond = (unitsPerSecond = Infinity) => !isFastEnough({ unitsPerSecond }, units, left);
    if (askers.some((asker) => fastest.has(asker) && beyond(fastest.get(asker)))) return undefined;
    const seen = { all: 0, allowed: 0 };
    const fits = ({ offer }: LiveNode) => {
      const speed = offerOf(offer, task.kind)?.unitsPerSecond ?? Infinity;
      seen.all = Math.max(seen.all, speed);
      if (!this.#init.allowSelfTasks && offer.wallet === task.requester) return false;
      seen.allowed = Math.max(seen.allowed, speed);
      return isFastEnough({ unitsPerSecond: speed }, units, left);
    };
    const preferred = tiny ? this.#bundling : undefined;
    const node = this.#components.fleet.find({ kind: task.kind, fits, tried, preferred });
    if (!node) fastest.set(askers[0], seen.all).set(askers[1], seen.allowed);
    if (tiny && node) {
      if (!this.#bundling) setImmediate(() => (this.#bundling = undefined));
      this.#bundling = node;
    }
    return node;
  }

  /** Takes the node's room before the write, so that two writes of one turn don't take the same. */
  reserve(node: LiveNode, queued: Task): ActiveAssignment {
    const { leases, clock, peers } = this.#components;
    const assignment = { id: newId(), nodeId: node.id, wallet: node.offer.wallet, assignedAt: clock.now() };
    const work = specOf(queued, this.#components.kinds)!;
    return leases.open(assign(queued, assignment, peers.self), work, node, "reserved");
  }

  get #deals(): boolean {
    return !this.#stopped && this.#components.clock.monotonic() >= this.#restUntil;
  }

  async #fill(): Promise<void> {
    const { clock, logger } = this.#components;
    try {
      do {
        this.#fillAgain = false;
        const startedAt = clock.monotonic();
        const { dealt, passed } = await this.#deal();
        const now = clock.monotonic();
        if (dealt === 0 && passed > 0) this.#restUntil = Math.max(this.#restUntil, now + IDLE * (now - startedAt));
      } while (this.#fillAgain && this.#deals);
    } catch (error) {
      logFailure(logger, error, "queued tasks not read; trying again");
      this.#rest();
    } finally {
      this.#filling = false;
    }
    if (this.#fillAgain) this.onCapacity();
  }

  /** Gives room to the requesters in turn, until there is no room or nothing that fits it. */
  async #deal(): Promise<{ dealt: number; passed: number }> {
    const { store, fleet, peers, clock } = this.#components;
    const fastest = new Map<string, number>();
    const passed: Hex[] = [];
    let dealt = 0;
    const exhausted = new Set<Address>();
    let depth = 1;
    for (let room = fleet.freeCapacity(PAGE); room > 0 && this.#deals; room = fleet.freeCapacity(PAGE)) {
      const requesters = this.queue.turn(Math.min(room, MAX_TURN), exhausted);
      if (requesters.length === 0 || passed.length >= LOOK_AHEAD) break;
      // Others deal from the same queue: of more tasks than are wanted each takes some at random.
      const crowd = 1 + peers.others().length;
      const limit = Math.min(PAGE * crowd, Math.ceil(room / requesters.length) * crowd * depth);
      const excluded = [...passed, ...this.#busy];
      const page = await store.queuedTasks({ requesters, now: clock.now(), limit, excluded });
      const queues = new Map(requesters.map((requester) => [requester, [] as Task[]]));
      for (const task of page) queues.get(task.requester)!.push(task);
      for (const [requester, tasks] of queues) {
        if (tasks.length < limit) exhausted.add(requester);
        if (crowd > 1) shuffle(tasks, this.#components.random);
      }
      const before = passed.length;
      for (const task of inTurn([...queues.values()])) {
        if (fleet.freeCapacity(1) === 0) break;
        if (this.#lease(task, fastest)) dealt++;
        else passed.push(task.id);
      }
      // What nobody here can take is skipped in longer and longer strides.
      depth = passed.length - before === page.length ? depth * STRIDE : 1;
    }
    return { dealt, passed: passed.length };
  }

  /** Leases a queued task to a node that fits; false when none does. */
  #lease(queued: Task, fastest: Map<string, number>): boolean {
    const node = this.pick(queued, fastest);
    if (!node) return false;
    const { leases, store, events, logger } = this.#components;
    const run = this.reserve(node, queued);
    this.#busy.add(queued.id);
    store
      .saveTask(run.task)
      .then((won) => {
        if (!won) return leases.forget(run);
        this.queue.add(queued.requester, -1);
        leases.push(run, run.task);
        events.publish(queued.id);
      })
      .catch((error: unknown) => {
        logFailure(logger, error, "lease not stored", { taskId: queued.id });
        this.#rest();
        leases.forget(run);
      })
      .finally(() => this.#busy.delete(queued.id));
    return true;
  }

  async #look(): Promise<void> {
    const { store, peers, clock } = this.#components;
    await this.queue.refresh(() => store.queueDepths());
    this.onCapacity();
    if (peers.others().length === 0) this.#elsewhere = [];
    else if (this.queue.size > 0 && clock.monotonic() - this.#nodesReadAt > OTHER_NODES_MS) {
      this.#nodesReadAt = clock.monotonic();
      const { items } = await store.nodes({ status: "online", limit: OTHER_NODES });
      this.#elsewhere = items.filter(({ owner }) => owner.coordinatorId !== peers.self.coordinatorId);
    }
  }

  /** The store does not take what is dealt: tries again after a while. */
  #rest(): void {
    const { clock } = this.#components;
    this.#restUntil = clock.monotonic() + RETRY_STORE_MS;
    this.#wakeAt(clock.now() + RETRY_STORE_MS);
  }

  #wakeAt(at: number): void {
    if (this.#stopped || (this.#wake && this.#wake.at <= at)) return;
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
