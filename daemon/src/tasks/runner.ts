import { hash } from "node:crypto";
import { type Hex, toHex } from "@proof-of-compute/proto";
import { type Assignment, type Cancel, FailureCode, type ResultAck } from "@proof-of-compute/proto/node";
import type { Logger } from "pino";
import type { Identity } from "../identity.ts";
import type { Execution, Executor, Output, Plan } from "../kinds/kind.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { ResultHead } from "../outbox/records.ts";
import { ResultSender } from "../outbox/result-sender.ts";
import { isKnownAt, networkIdOf } from "../session/network-id.ts";
import type { OpenSession, SessionHandler } from "../session/session.ts";
import { admit, Declined } from "./admission.ts";
import { type Counts, Tally } from "./tally.ts";

/** How often running assignments are looked over for progress. */
const SWEEP_MS = 250;
/** At most one Progress of an assignment in this time (node.proto). */
const PROGRESS_MS = 1_000;
/** Most ids in Hello and Heartbeat (node.proto). */
const HELD_IDS = 4096;
/** Most bytes of Failure.detail are 1,024; a UTF-16 unit is at most 3. */
const DETAIL_CHARACTERS = 340;

/** A running assignment, for people. */
export interface RunningTask {
  readonly taskId: Hex;
  readonly title: string;
  readonly units: bigint;
  /** 0 to 1. */
  readonly fraction: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
}

interface Running {
  readonly assignment: Assignment;
  /** Of the coordinator that assigned it. */
  readonly network: Uint8Array;
  readonly plan: Plan;
  readonly specDigest: Uint8Array;
  readonly execution: Execution;
  readonly startedAt: number;
  /** Why it is being stopped. */
  stopping?: { readonly code: FailureCode; readonly detail: string };
  /** Monotonic; undefined until the coordinator of this session was told. */
  toldAt: number | undefined;
  toldFraction: number;
}

/** Takes assignments up to the free slots, runs them, and sees their results through to the verdict. */
export class Runner implements SessionHandler {
  readonly #logger: Logger;
  readonly #identity: Identity;
  readonly #executors: readonly Executor[];
  readonly #outbox: Outbox;
  readonly #wallet: Uint8Array;
  readonly #slots: number;
  readonly #memoryBytes: number;
  readonly #onChange: () => void;
  readonly #tally: Tally;
  readonly #running = new Map<Hex, Running>();
  #link: OpenSession | undefined;
  /** That of the session. */
  #network: Uint8Array | undefined;
  #resultSender: ResultSender | undefined;
  #sweeps: NodeJS.Timeout | undefined;
  #draining = false;
  #refusal: string | undefined;

  /** `wallet` is 20 bytes, `memoryBytes` bounds what running tasks take together. */
  constructor(
    components: {
      readonly logger: Logger;
      readonly identity: Identity;
      readonly executors: readonly Executor[];
      readonly outbox: Outbox;
    },
    init: {
      readonly wallet: Uint8Array;
      readonly slots: number;
      readonly memoryBytes: number;
      readonly onChange: () => void;
    },
  ) {
    this.#logger = components.logger;
    this.#identity = components.identity;
    this.#executors = components.executors;
    this.#outbox = components.outbox;
    this.#wallet = init.wallet;
    this.#slots = init.slots;
    this.#memoryBytes = init.memoryBytes;
    this.#onChange = init.onChange;
    this.#tally = new Tally(components);
  }

  get counts(): Counts {
    return this.#tally.counts;
  }

  /** Why the last assignment that was declined was declined; undefined once one was taken again. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  get running(): number {
    return this.#running.size;
  }

  get unacknowledged(): number {
    return this.#results().length;
  }

  freeSlots(): number {
    return this.#draining ? 0 : this.#slots - this.#running.size;
  }

  heldAssignments(): Uint8Array[] {
    const running = [...this.#running.values()].filter((each) => this.#isKnownHere(each));
    return [...running.map(({ assignment }) => assignment), ...this.#results()]
      .slice(0, HELD_IDS)
      .map(({ assignmentId }) => assignmentId);
  }

  /** Running tasks, oldest first. */
  tasks(): RunningTask[] {
    return Array.from(this.#running.values(), ({ assignment, plan, execution, startedAt }) => ({
      taskId: toHex(assignment.taskId),
      title: plan.title,
      units: plan.units,
      fraction: execution.fraction(),
      startedAt,
    }));
  }

  /** A session is open: everything of its network without a verdict is sent, again if it was before. */
  opened(link: OpenSession): void {
    this.#link = link;
    this.#network = networkIdOf(link.welcome);
    this.#resultSender = new ResultSender(
      { identity: this.#identity, outbox: this.#outbox, link },
      { wallet: this.#wallet, onError: (error) => this.#logger.error({ error }, "results could not be sent") },
    );
    for (const running of this.#running.values()) running.toldAt = undefined;
    const unacknowledged = this.#results();
    const astray = this.#outbox.size - unacknowledged.length;
    if (astray > 0) this.#logger.warn({ results: astray }, "results of another network are kept until it is dialled");
    if (unacknowledged.length > 0) this.#logger.info({ results: unacknowledged.length }, "sending results again");
    for (const head of unacknowledged) this.#resultSender.send(head);
  }

  /** The session ended; running tasks go on. */
  closed(): void {
    this.#link = undefined;
    this.#network = undefined;
    this.#resultSender = undefined;
  }

  /** Takes no more assignments. */
  drain(): void {
    this.#draining = true;
  }

  /** Stops what runs, for the node's own reasons. */
  abandon(detail: string): void {
    for (const running of this.#running.values()) {
      running.stopping ??= { code: FailureCode.FAILURE_CODE_BUSY, detail };
      running.execution.cancel();
    }
  }

  /** Ends its timers. */
  stop(): void {
    clearInterval(this.#sweeps);
    this.#tally.report();
  }

  assign(assignments: readonly Assignment[]): void {
    for (const assignment of assignments) {
      const id = toHex(assignment.assignmentId);
      if (this.#running.has(id) || this.#outbox.has(id)) continue;
      try {
        this.#begin(id, assignment);
      } catch (error) {
        this.#decline(id, assignment, error);
      }
    }
    this.#onChange();
  }

  cancel({ assignmentId }: Cancel): void {
    const id = toHex(assignmentId);
    const running = this.#running.get(id);
    if (running && this.#isKnownHere(running)) {
      running.stopping = { code: FailureCode.FAILURE_CODE_CANCELLED, detail: "" };
      running.execution.cancel();
      return;
    }
    this.#settle(id);
    this.#fail(assignmentId, FailureCode.FAILURE_CODE_CANCELLED, "");
    this.#onChange();
  }

  acknowledge(acks: readonly ResultAck[]): void {
    for (const ack of acks) {
      if (this.#settle(toHex(ack.assignmentId))) this.#tally.add(ack);
    }
    this.#onChange();
  }

  /** Results that this session's coordinator may know; before it says which network it is of, all. */
  #results(): ResultHead[] {
    return this.#outbox.heads().filter((head) => this.#isKnownHere(head));
  }

  #isKnownHere({ network }: { readonly network: Uint8Array }): boolean {
    return this.#network === undefined || isKnownAt(network, this.#network);
  }

  /** False when there is no such result; what another network says of one counts for nothing. */
  #settle(id: Hex): boolean {
    const head = this.#outbox.head(id);
    return head !== undefined && this.#isKnownHere(head) && this.#outbox.settle(id) !== undefined;
  }

  #begin(id: Hex, assignment: Assignment): void {
    if (this.freeSlots() <= 0) {
      throw new Declined(FailureCode.FAILURE_CODE_BUSY, this.#draining ? "the node drains" : "no slot is free");
    }
    const { assignmentId, taskId } = assignment;
    const { spec, plan, executor } = admit(assignment.spec, {
      executors: this.#executors,
      running: this.#running.values().map((running) => running.plan),
      memoryBytes: this.#memoryBytes,
      outboxRefusal: (bytes) => this.#outbox.refusal(bytes),
    });
    this.#refusal = undefined;
    const specDigest = hash("sha256", assignment.spec, "buffer");
    const nodeId = this.#identity.nodeId;
    const execution = executor.execute({ assignmentId, taskId, nodeId, specDigest, spec });
    const running: Running = {
      assignment,
      network: this.#network!,
      plan,
      specDigest,
      execution,
      startedAt: Date.now(),
      toldAt: undefined,
      toldFraction: 0,
    };
    this.#running.set(id, running);
    execution.done.then(
      (output) => this.#finish(id, running, output),
      (error) => this.#crash(id, running, error),
    );
    // The result of a tiny task follows so soon that it is the acceptance; the sweep sees to it if not.
    if (!plan.tiny) this.#tell(running, 0);
    this.#sweeps ??= setInterval(() => this.#sweep(), SWEEP_MS);
  }

  #decline(id: Hex, { assignmentId }: Assignment, error: unknown): void {
    const detail = messageOf(error);
    if (error instanceof Declined) {
      if (detail !== this.#refusal) this.#logger.warn({ assignmentId: id, detail }, "declined an assignment");
      this.#refusal = detail;
      this.#fail(assignmentId, error.code, detail);
    } else {
      this.#logger.error({ error, assignmentId: id }, "an assignment could not be started");
      this.#fail(assignmentId, FailureCode.FAILURE_CODE_INTERNAL, detail);
    }
  }

  #finish(id: Hex, { assignment, network, specDigest, stopping }: Running, output: Output | null): void {
    this.#running.delete(id);
    const { assignmentId, taskId } = assignment;
    if (stopping || output === null) {
      const { code, detail } = stopping ?? { code: FailureCode.FAILURE_CODE_INTERNAL, detail: "stopped unasked" };
      this.#fail(assignmentId, code, detail);
    } else {
      const head = this.#outbox.add({
        assignmentId,
        taskId,
        specDigest,
        outputDigest: output.outputDigest,
        outputBytes: output.output.length,
        network,
        output: output.output,
      });
      if (this.#isKnownHere(head)) this.#resultSender?.send(head);
    }
    this.#onChange();
  }

  #crash(id: Hex, { assignment, stopping }: Running, error: unknown): void {
    this.#running.delete(id);
    if (stopping) {
      this.#fail(assignment.assignmentId, stopping.code, stopping.detail);
    } else {
      this.#tally.addFailure(id, error);
      this.#fail(assignment.assignmentId, FailureCode.FAILURE_CODE_INTERNAL, messageOf(error));
    }
    this.#onChange();
  }

  /** Failures are not acknowledged: without a stream the next Hello tells the same by what it does not hold. */
  #fail(assignmentId: Uint8Array, code: FailureCode, detail: string): void {
    this.#link?.send({
      $case: "failure",
      value: { assignmentId, code, detail: detail.slice(0, DETAIL_CHARACTERS) },
    });
  }

  #sweep(): void {
    if (this.#running.size === 0) {
      clearInterval(this.#sweeps);
      this.#sweeps = undefined;
      return;
    }
    const now = performance.now();
    for (const running of this.#running.values()) {
      if (running.stopping) continue;
      const fraction = running.execution.fraction();
      const due = running.toldAt === undefined || now - running.toldAt >= PROGRESS_MS;
      if (due && (running.toldAt === undefined || fraction > running.toldFraction)) this.#tell(running, fraction);
    }
    this.#onChange();
  }

  #tell(running: Running, fraction: number): void {
    if (this.#link === undefined || !this.#isKnownHere(running)) return;
    running.toldAt = performance.now();
    running.toldFraction = fraction;
    this.#link.send({
      $case: "progress",
      value: { assignmentId: running.assignment.assignmentId, fraction },
    });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
