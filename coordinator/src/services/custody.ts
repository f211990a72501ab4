import type { Hex } from "@proof-of-compute/proto";
import { isSameOwner, type Owner } from "../domain/owner.ts";
import { liveAssignment, type Task, takeOver } from "../domain/task.ts";
import type { Metrics } from "../metrics.ts";
import type { Store } from "../ports/store.ts";
import type { Attempts } from "./attempts.ts";
import type { Fleet } from "./fleet.ts";
import type { LiveNode, Run } from "./live-node.ts";
import type { TaskEvents } from "./task-events.ts";

/** Tasks taken over at once. */
const PAGE = 256;

export interface CustodyComponents {
  readonly store: Store;
  readonly fleet: Fleet;
  readonly attempts: Attempts;
  readonly events: TaskEvents;
  readonly metrics: Metrics;
}

export interface CustodyInit {
  /** This coordinator, which owns the tasks that its nodes run. */
  readonly self: Owner;
}

/**
 * Which live assignments are followed here. Each has one owner, written in its task; whoever takes one over writes its own
 * name there, and every later write of the one before is refused.
 */
export class Custody {
  readonly #components: CustodyComponents;
  readonly #self: Owner;

  constructor(components: CustodyComponents, { self }: CustodyInit) {
    this.#components = components;
    this.#self = self;
  }

  /**
   * Takes over the live assignments whose owner is none of `alive`; their nodes have the lease time to come to this
   * coordinator. Another that does the same at once takes some of them, each one only one. Returns how many it took.
   */
  async takeOver(alive: readonly Owner[]): Promise<number> {
    for (let taken = 0; ; ) {
      const page = await this.#components.store.orphanedTasks(alive, PAGE);
      const won = await Promise.all(page.map((task) => this.#take(task, () => this.#expect(task))));
      taken += won.filter(Boolean).length;
      if (page.length < PAGE) return taken;
    }
  }

  /**
   * A node is here: what it runs is this coordinator's from now on, wherever it was before, and what the store says has
   * ended has ended.
   */
  async adopt(node: LiveNode): Promise<void> {
    const { store, attempts } = this.#components;
    const live = new Set<Hex>();
    for (const task of await store.liveTasksOf(node.id)) {
      const { id } = liveAssignment(task)!;
      live.add(id);
      if (!attempts.get(id) || !isSameOwner(task.owner, this.#self)) await this.#take(task, async () => node);
    }
    // Neither what is being stored, nor what is being judged, which the judgement itself will find out.
    for (const run of attempts.followed()) {
      if (run.node === node && !live.has(run.assignment.id)) this.#drop(run);
    }
  }

  /**
   * Compares what the store says is followed here with what is: a write whose answer was lost leaves an assignment that
   * nobody follows, or one that is followed and is not ours any more.
   */
  async compare(): Promise<void> {
    const { store, attempts } = this.#components;
    const followed = attempts.followed();
    const stored = await store.liveAssignments(this.#self);
    for (const { taskId, assignmentId } of stored) {
      if (!attempts.get(assignmentId)) await attempts.endStray(taskId, assignmentId);
    }
    const live = new Set(stored.map(({ assignmentId }) => assignmentId));
    const still = new Set(attempts.followed());
    for (const run of followed) if (still.has(run) && !live.has(run.assignment.id)) this.#drop(run);
  }

  /** Tells nodes to stop what was cancelled at another coordinator. */
  async learnCancelled(): Promise<void> {
    const { store, attempts, events } = this.#components;
    if (attempts.size === 0) return;
    for (const task of await store.cancellingTasks(this.#self)) {
      const run = attempts.ofTask(task.id);
      if (!run || run.task.version >= task.version) continue;
      run.task = task;
      run.node.link?.cancel(run.assignment.id, "REQUESTED");
      events.publish(task.id);
    }
  }

  /** One guarded change of owner; false when the task has moved on. */
  async #take(task: Task, nodeOf: () => Promise<LiveNode>): Promise<boolean> {
    const { store, attempts, metrics, events } = this.#components;
    const node = await nodeOf();
    const taken = takeOver(task, this.#self);
    if (!(await store.saveTask(taken))) return false;
    metrics.takenOver.inc();
    const known = attempts.get(liveAssignment(taken)!.id);
    if (known) known.task = taken;
    else attempts.open(taken, node, "running");
    events.publish(task.id);
    return true;
  }

  /** The node of a live assignment, which is expected here. */
  async #expect(task: Task): Promise<LiveNode> {
    const { fleet, store } = this.#components;
    const live = liveAssignment(task)!;
    const stored = await store.node(live.nodeId);
    return fleet.expect(live.nodeId, {
      nodeId: live.nodeId,
      wallet: live.wallet,
      version: stored?.version ?? "",
      kinds: stored?.kinds ?? [],
      slots: stored?.slots ?? 1,
      hardware: stored?.hardware ?? { cpuModel: "", cpuCores: 0, memoryBytes: 0, platform: "" },
      confirmed: stored?.confirmed ?? false,
      runningAssignmentIds: [],
    });
  }

  #drop(run: Run): void {
    run.node.link?.cancel(run.assignment.id, "LEASE_LOST");
    this.#components.attempts.forget(run);
  }
}
