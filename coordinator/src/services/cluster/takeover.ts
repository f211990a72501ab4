import type { Hex } from "@proof-of-compute/proto";
import { hasMovedOn } from "../../domain/errors.ts";
import { isSameOwner, type Owner } from "../../domain/owner.ts";
import { endAssignment, expire, liveAssignment, type Task, takeOver } from "../../domain/task.ts";
import { type CoordinatorKind, type CoordinatorKinds, type KnownSpec, specOf } from "../../kinds/index.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Store } from "../../ports/store.ts";
import type { Leases } from "../dispatch/leases.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { LiveNode } from "../fleet/live-node.ts";
import type { Metrics } from "../metrics.ts";
import type { TaskEvents } from "../watch/task-events.ts";
import type { Peers } from "./peers.ts";

/** Tasks taken over at once. */
const PAGE = 256;

export interface TakeoverComponents {
  readonly store: Store;
  readonly fleet: Fleet;
  readonly leases: Leases;
  readonly kinds: CoordinatorKinds;
  readonly clock: Pick<Clock, "now">;
  readonly events: TaskEvents;
  readonly peers: Pick<Peers, "alive" | "isAlive" | "look">;
  readonly metrics: Metrics;
}

export interface TakeoverInit {
  /** This coordinator, which owns the tasks that its nodes run. */
  readonly self: Owner;
}

/**
 * Which live assignments are followed here. Each has one owner, written in its task; whoever takes one over writes its own
 * name there, and every later write of the one before is refused.
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
   * Takes over the live assignments whose owner is gone; their nodes have the lease time to come to this coordinator.
   * Another coordinator that does the same at the same time takes others of them. Returns how many this one took.
   */
  async takeOverOrphans(): Promise<number> {
    const { store, peers } = this.#components;
    let after: Hex | undefined;
    for (let taken = 0; ; ) {
      const page = await store.orphanedTasks(peers.alive(), PAGE, after);
      // An owner makes itself known before it owns: one that was not known yet is known by now.
      if (page.length > 0) await peers.look();
      const orphans = page.filter(({ owner }) => !owner || !peers.isAlive(owner));
      const won = await Promise.all(
        orphans.map((task) => {
          const work = this.#workOf(task);
          return work ? this.#inherit(task, work) : this.#close(task);
        }),
      );
      taken += won.filter(Boolean).length;
      if (page.length < PAGE) return taken;
      after = page.at(-1)!.id;
    }
  }

  /**
   * A node is here: what it runs is this coordinator's from now on, wherever it was before, and what the store says has
   * ended has ended. An assignment whose kind is not known here stays its owner's.
   */
  async adopt(node: LiveNode): Promise<void> {
    const { store, leases } = this.#components;
    // What is leased while the store is asked, or is being judged, is not in its answer.
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
   * Compares what the store says is followed here with what is: a write whose answer was lost leaves an assignment that
   * nobody follows, or one that is followed and is not ours any more.
   */
  async reconcile(): Promise<void> {
    const { store, leases } = this.#components;
    const followed = leases.listRunning();
    const stored = await store.liveAssignments(this.#self);
    const suspects = new Set<Hex>();
    for (const { taskId, assignmentId } of stored) {
      if (leases.get(assignmentId)) continue;
      // Seen once it may be one whose write is only being answered.
      if (this.#suspects.has(assignmentId)) await leases.endStray(taskId, assignmentId);
      else suspects.add(assignmentId);
    }
    this.#suspects = suspects;
    const live = new Set(stored.map(({ assignmentId }) => assignmentId));
    const still = new Set(leases.listRunning());
    const lost = followed.filter((assignment) => still.has(assignment) && !live.has(assignment.id));
    // A node that is here keeps what it runs, whoever took it over.
    for (const node of new Set(lost.map(({ node }) => node))) if (node.link) await this.adopt(node);
    for (const assignment of lost) if (!assignment.node.link) this.#drop(assignment);
  }

  /** Tells nodes to stop what was cancelled at another coordinator. */
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

  /** Makes a live assignment of a node that is here this coordinator's; again as long as only its owner changes. */
  async #claim(task: Task, work: KnownSpec<CoordinatorKind>, node: LiveNode): Promise<void> {
    const { store, leases, fleet } = this.#components;
    const { id } = liveAssignment(task)!;
    for (let current: Task | null = task; current && liveAssignment(current)?.id === id; ) {
      if (leases.get(id) && isSameOwner(current.owner, this.#self)) return;
      if (await this.#take(current, work, () => fleet.expect(node.offer, node.earned))) return;
      current = await store.task(task.id);
    }
  }

  #workOf(task: Task): KnownSpec<CoordinatorKind> | undefined {
    return specOf(task, this.#components.kinds);
  }

  /**
   * Ends an orphan whose kind is not known here once nobody may wait for its result any more: it was cancelled, or it is
   * overdue. Until then it waits for a coordinator that knows its kind.
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

  /** Makes a live assignment whose owner is gone this coordinator's, and expects its node here. */
  async #inherit(task: Task, work: KnownSpec<CoordinatorKind>): Promise<boolean> {
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
   * One guarded change of owner; false when the task has moved on. The fleet is asked for the node after the write: it
   * may have forgotten one that had no assignment meanwhile.
   */
  async #take(task: Task, work: KnownSpec<CoordinatorKind>, nodeOf: () => LiveNode): Promise<boolean> {
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
