import type { Address, Hex } from "@proof-of-compute/proto";
import { liveAssignment, type Task } from "../../domain/task.ts";
import type { CoordinatorKind, KnownSpec } from "../../kinds/index.ts";
import type { Upload } from "../results/uploads.ts";
import type { LiveNode } from "./live-node.ts";
import type { NodeCapacity } from "./node-capacity.ts";

/**
 * How far an assignment has come here:
 * - `reserved`: its lease is being written, and the store may refuse it; nothing may be built on it before.
 * - `sent`: pushed to the node, which has not answered; withdrawn when the node stays silent about it.
 * - `running`: the node answered.
 * - `checking`: its result is here and being checked; the lease holds until the verdict.
 */
export type AssignmentPhase = "reserved" | "sent" | "running" | "checking";

export interface ActiveAssignmentComponents {
  readonly node: LiveNode;
  readonly capacity: NodeCapacity;
  /** The node forgets the assignment. */
  readonly forget: (assignment: ActiveAssignment) => void;
}

export interface ActiveAssignmentInit {
  /** With the live assignment. */
  readonly task: Task;
  /** Kind and spec of the task. */
  readonly work: KnownSpec<CoordinatorKind>;
  readonly phase: Exclude<AssignmentPhase, "checking">;
  /** Monotonic. */
  readonly now: number;
}

/** A live assignment in memory: the task as last written, and what only the live session knows. Its node makes it. */
export class ActiveAssignment {
  readonly id: Hex;
  readonly nodeId: Hex;
  /** The wallet that it was given for. */
  readonly wallet: Address;
  readonly node: LiveNode;
  readonly work: KnownSpec<CoordinatorKind>;
  readonly #capacity: NodeCapacity;
  readonly #forget: (assignment: ActiveAssignment) => void;
  #task: Task;
  #phase: AssignmentPhase;
  #isOver = false;
  #progress = 0;
  #movedAt: number;
  #missed = 0;
  #ending: Promise<boolean> | undefined;
  #upload: Upload | undefined;

  constructor({ node, capacity, forget }: ActiveAssignmentComponents, init: ActiveAssignmentInit) {
    const { id, nodeId, wallet } = liveAssignment(init.task)!;
    this.id = id;
    this.nodeId = nodeId;
    this.wallet = wallet;
    this.node = node;
    this.work = init.work;
    this.#capacity = capacity;
    this.#forget = forget;
    this.#task = init.task;
    this.#phase = init.phase;
    this.#movedAt = init.now;
    capacity.reserve(init.task.kind);
  }

  get task(): Task {
    return this.#task;
  }

  get phase(): AssignmentPhase {
    return this.#phase;
  }

  /** 0 to 1, as the node says. */
  get progress(): number {
    return this.#progress;
  }

  /** Its output, while that arrives in chunks. */
  get upload(): Upload | undefined {
    return this.#upload;
  }

  /** Whether its end is being written, however long the store is away. */
  get isEnding(): boolean {
    return this.#ending !== undefined;
  }

  /** Milliseconds since it was pushed or last moved. */
  stillFor(now: number): number {
    return now - this.#movedAt;
  }

  /** The task was written. */
  update(task: Task): void {
    this.#task = task;
  }

  /** The lease is stored and the node is told. */
  toSent(task: Task, now: number): void {
    this.#task = task;
    this.#phase = "sent";
    this.#movedAt = now;
  }

  /** The node named it in a new session, in which its output has to arrive from the beginning. */
  resume(now: number): void {
    this.#phase = "running";
    this.#missed = 0;
    this.#movedAt = now;
    this.dropUpload();
  }

  /** The node said how far it is; its first word accepts the assignment. True when there is something new to show. */
  advance(fraction: number, now: number): boolean {
    if (this.#phase === "sent") this.#phase = "running";
    this.#movedAt = now;
    const progress = Math.min(1, Math.max(this.#progress, fraction));
    if (progress === this.#progress && progress > 0) return false;
    this.#progress = progress;
    return true;
  }

  /** Time in which the coordinator itself stood still does not count. */
  forgive(ms: number, now: number): void {
    this.#movedAt = Math.min(now, this.#movedAt + ms);
  }

  /** Notes whether a heartbeat listed it; returns how many in a row did not. The first word of the node is not awaited here. */
  note(isListed: boolean): number {
    this.#missed = this.#phase !== "running" || isListed ? 0 : this.#missed + 1;
    return this.#missed;
  }

  receive(upload: Upload): void {
    this.#upload = upload;
  }

  /** Gives the memory of its output back. */
  dropUpload(): void {
    this.#upload?.release();
    this.#upload = undefined;
  }

  /** The result is here: the slot is free, the lease holds until the verdict. */
  toChecking(): void {
    this.#phase = "checking";
    this.#progress = 1;
    this.#capacity.startCheck(this.#task.kind);
  }

  /** Writes its end, once: false, after the write that is under way, when there is one already. */
  async writeEnd(write: () => Promise<boolean>): Promise<boolean> {
    if (this.#ending) {
      await this.#ending;
      return false;
    }
    this.#ending = write();
    return this.#ending;
  }

  /** It is over, or never was; what it took is free. Safe to repeat. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.dropUpload();
    this.#forget(this);
    if (this.#phase === "checking") this.#capacity.endCheck();
    else this.#capacity.release(this.#task.kind);
  }
}
