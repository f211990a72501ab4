import type { Hex } from "@proof-of-compute/proto";
import { hasMovedOn } from "../../domain/errors.ts";
import { isSameOwner, type Owner } from "../../domain/owner.ts";
import { endAssignment, expire, liveAssignment, type Task, takeOver } from "../../domain/task.ts";
import { type CoordinatorKind, type CoordinatorKinds, type KnownSpec, specOf } from "../../kinds/index.ts";
import type { Clock } from "../../ports/clock.ts";
import type { NodeStore } from "../../ports/nodes.ts";
import type { TaskStore } from "../../ports/tasks.ts";
import type { Leases } from "../dispatch/leases.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { LiveNode } from "../fleet/live-node.ts";
import type { Metrics } from "../metrics.ts";
import type { TaskEvents } from "../watch/task-events.ts";
import { ORPHAN_PAGE } from "./limits.ts";
import type { Peers } from "./peers.ts";

export interface TakeoverComponents {
  readonly store: Pick<
    TaskStore,
    "task" | "saveTask" | "orphanedTasks" | "liveTasksOf" | "liveAssignments" | "cancellingTasks"
  > &
    Pick<NodeStore, "node" | "standing">;
  readonly fleet: Pick<Fleet, "expect">;
  readonly leases: Leases;
  readonly kinds: CoordinatorKinds;
  readonly clock: Pick<Clock, "now">;
  readonly events: Pick<TaskEvents, "publish">;
  readonly peers: Pick<Peers, "alive" | "isAlive" | "look">;
  readonly metrics: Pick<Metrics, "takenOver">;
}

export interface TakeoverInit {
  /** This coordinator, which owns the tasks that its nodes run. */
  readonly self: Owner;
}

type Work = KnownSpec<CoordinatorKind>;

/**
 * Decides which live assignments this coordinator follows. Each has one owner, written in its task. A coordinator that takes an
 * assignment over writes its own name there, and later writes of the previous owner are refused.
 */
export class Takeover {
  readonly #components: TakeoverComponents;
  readonly #self: Owner;
  /** Assignments that the last comparison found in the store alone. */
  #suspects: ReadonlySet<Hex> = new Set();

  constructor(components: TakeoverComponents, { self }: TakeoverInit) {
    this.#components = components;
    this.#self = self;
  }

  /**
   * Takes over live assignments whose owner is lost; their nodes have the lease time to come to this coordinator. When several
   * coordinators do this at once, each assignment goes to one of them. Returns how many this one took.
   */
  async takeOverOrphans(): Promise<number> {
    const { store, peers } = this.#components;
    let after: Hex | undefined;
    for (let taken = 0; ; ) {
      const page = await store.orphanedTasks(peers.alive(), ORPHAN_PAGE, after);
      // Coordinators register before they own anything: an owner that was unknown so far is known now.
      if (page.length > 0) await peers.look();
      const orphans = page.filter(({ owner }) => !owner || !peers.isAlive(owner));
      const won = await Promise.all(
        orphans.map((task) => {
          const work = this.#workOf(task);
          return work ? this.#inherit(task, work) : this.#close(task);
        }),
      );
      taken += won.filter(Boolean).length;
      if (page.length < ORPHAN_PAGE) return taken;
      after = page.at(-1)!.id;
    }
  }

  /**
   * Makes everything that a node runs this coordinator's, whoever owned it before, and drops what has ended according to the
   * store. Assignments of kinds that are not known here stay their owner's.
   */
  async adopt(node: LiveNode): Promise<void> {
    const { store, leases } = this.#components;
    // Not in the store's answer: assignments that are leased while it is asked, and those that are being checked.
    const followed = leases.listRunning().filter((assignment) => assignment.node === node);
    const live = new Set<Hex>();
    for (const task of await store.liveTasksOf(node.id)) {
      const work = this.#workOf(task);
      if (!work) continue;
      live.add(liveAssignment(task)!.id);
      await this.#claim(task, work, node);
    }
    const still = new Set(leases.listRunning());
    for (const assignment of followed) {
      if (still.has(assignment) && !live.has(assignment.id)) this.#drop(assignment);
    }
  }

  /**
   * Compares what is followed here with what should be, according to the store. A write whose answer was lost leaves an
   * assignment that nobody follows, or one that is followed here and belongs to another coordinator.
   */
  async reconcile(): Promise<void> {
    const { store, leases } = this.#components;
    const followed = leases.listRunning();
    const stored = await store.liveAssignments(this.#self);
    const suspects = new Set<Hex>();
    for (const { taskId, assignmentId } of stored) {
      if (leases.get(assignmentId)) continue;
      // Once is not enough: the answer to its write may be on its way.
      if (this.#suspects.has(assignmentId)) await leases.endStray(taskId, assignmentId);
      else suspects.add(assignmentId);
    }
    this.#suspects = suspects;
    const live = new Set(stored.map(({ assignmentId }) => assignmentId));
    const still = new Set(leases.listRunning());
    const lost = followed.filter((assignment) => still.has(assignment) && !live.has(assignment.id));
    // A node with a session here keeps what it runs, whichever coordinator took that over.
    for (const node of new Set(lost.map(({ node }) => node))) if (node.link) await this.adopt(node);
    for (const assignment of lost) if (!assignment.node.link) this.#drop(assignment);
  }

  /** Tells nodes to stop tasks that were cancelled at another coordinator. */
  async pullCancellations(): Promise<void> {
    const { store, leases, events } = this.#components;
    if (leases.size === 0) return;
    for (const task of await store.cancellingTasks(this.#self)) {
      const assignment = leases.ofTask(task.id);
      if (!assignment || assignment.task.version >= task.version) continue;
      assignment.update(task);
      assignment.node.link?.cancel(assignment.id, "REQUESTED");
      events.publish(task.id);
    }
  }

  /** Makes a live assignment of a node with a session here this coordinator's; retries as long as only its owner changes. */
  async #claim(task: Task, work: Work, node: LiveNode): Promise<void> {
    const { store, leases, fleet } = this.#components;
    const { id } = liveAssignment(task)!;
    for (let current: Task | null = task; current && liveAssignment(current)?.id === id; ) {
      if (leases.get(id) && isSameOwner(current.owner, this.#self)) return;
      if (await this.#take(current, work, () => fleet.expect(node.offer, node.earned))) return;
      current = await store.task(task.id);
    }
  }

  /** Undefined when the kind of the task is not known here. */
  #workOf(task: Task): Work | undefined {
    return specOf(task, this.#components.kinds);
  }

  /**
   * Ends an orphan whose kind is not known here, once its task was cancelled or is overdue. Until then it waits for a
   * coordinator that knows its kind. False when it is left alone.
   */
  async #close(task: Task): Promise<boolean> {
    const { store, leases, clock } = this.#components;
    const now = clock.now();
    if (task.state !== "cancelling" && task.deadline >= now) return false;
    if (!(await store.saveTask(takeOver(task, this.#self)))) return false;
    const { id } = liveAssignment(task)!;
    const ending = { state: "cancelled", reason: "CANCELLED", at: now } as const;
    const retry = { maxAttempts: Number.POSITIVE_INFINITY, notBefore: now };
    const end = (current: Task) =>
      current.state === "cancelling"
        ? endAssignment(current, id, ending, retry, this.#self)
        : expire(current, now, this.#self);
    await leases.update(task.id, end).catch((error: unknown) => {
      // A coordinator that knows the kind has accepted its result, or taken it over.
      if (!hasMovedOn(error)) throw error;
    });
    return true;
  }

  /** Makes a live assignment whose owner is lost this coordinator's, and expects its node here. */
  async #inherit(task: Task, work: Work): Promise<boolean> {
    const { fleet, store } = this.#components;
    const live = liveAssignment(task)!;
    const [stored, standing] = await Promise.all([store.node(live.nodeId), store.standing(live.nodeId, live.wallet)]);
    const offer = {
      nodeId: live.nodeId,
      wallet: live.wallet,
      version: stored?.version ?? "",
      slots: stored?.slots ?? 1,
      offers: stored?.offers ?? [],
      hardware: stored?.hardware ?? { cpuModel: "", cpuCores: 0, memoryBytes: 0, platform: "" },
      confirmed: stored?.confirmed ?? false,
      runningAssignmentIds: [],
    };
    return this.#take(task, work, () => fleet.expect(offer, standing));
  }

  /**
   * Writes the change of owner, guarded by the version; false when the task has moved on. Asks for the node after the write,
   * because the fleet forgets nodes without assignments.
   */
  async #take(task: Task, work: Work, nodeOf: () => LiveNode): Promise<boolean> {
    const { store, leases, metrics, events } = this.#components;
    const taken = takeOver(task, this.#self);
    if (!(await store.saveTask(taken))) return false;
    metrics.takenOver.inc();
    const known = leases.get(liveAssignment(taken)!.id);
    if (known) known.update(taken);
    else leases.open(taken, work, nodeOf(), "running");
    events.publish(task.id);
    return true;
  }

  #drop(assignment: ActiveAssignment): void {
    assignment.node.link?.cancel(assignment.id, "LEASE_LOST");
    this.#components.leases.forget(assignment);
  }
}
