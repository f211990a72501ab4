import { type Hex, toHex } from "@proof-of-compute/proto";
import {
  type Assignment,
  type Cancel,
  FailureCode,
  type KindOffer,
  type ResultAck,
} from "@proof-of-compute/proto/node";
import type { Logger } from "pino";
import type { Blobs } from "../blobs/blobs.ts";
import type { Identity } from "../identity.ts";
import type { Executor, Output } from "../kinds/kind.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { ResultHead } from "../outbox/records.ts";
import { ResultSender } from "../outbox/result-sender.ts";
import { isKnownAt, networkIdOf } from "../session/network-id.ts";
import type { OpenSession, SessionHandler } from "../session/open-session.ts";
import { admit, Declined } from "./admission.ts";
import { type Failed, failed, failureOf, messageOf } from "./failures.ts";
import { ProgressReports } from "./progress.ts";
import { RunningAssignment, type RunningTask } from "./running-assignment.ts";
import type { Slots } from "./slots.ts";
import { type Counts, Tally } from "./tally.ts";

/** Most ids in Hello and Heartbeat (node.proto). */
const HELD_IDS = 4096;

export interface RunnerComponents {
  readonly logger: Logger;
  readonly identity: Identity;
  readonly executors: readonly Executor[];
  readonly slots: Slots;
  readonly outbox: Outbox;
  readonly blobs: Blobs;
}

export interface RunnerInit {
  /** 20 bytes. */
  readonly wallet: Uint8Array;
  /** Main memory that running tasks may take together. */
  readonly memoryBytes: number;
  readonly onChange: () => void;
}

/** Takes assignments while slots are free, runs them, and sends their results until there is a verdict. */
export class Runner implements SessionHandler {
  readonly #components: RunnerComponents;
  readonly #init: RunnerInit;
  readonly #logger: Logger;
  readonly #outbox: Outbox;
  readonly #slots: Slots;
  readonly #tally: Tally;
  readonly #running = new Map<Hex, RunningAssignment>();
  readonly #progress: ProgressReports;
  #session: OpenSession | undefined;
  /** Network of the session. */
  #networkId: Uint8Array | undefined;
  #resultSender: ResultSender | undefined;
  #draining = false;
  #refusal: string | undefined;

  constructor(components: RunnerComponents, init: RunnerInit) {
    this.#components = components;
    this.#init = init;
    this.#logger = components.logger;
    this.#outbox = components.outbox;
    this.#slots = components.slots;
    this.#tally = new Tally(components);
    this.#progress = new ProgressReports({
      running: this.#running,
      send: (running, fraction) => this.#sendProgress(running, fraction),
      onSweep: init.onChange,
    });
  }

  get counts(): Counts {
    return this.#tally.counts;
  }

  /** Why the last assignment was declined; undefined once one is taken again. */
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
    return this.#draining ? 0 : Math.max(0, this.#slots.total - this.#running.size);
  }

  offers(totalSlots: number): KindOffer[] {
    return this.#slots.offers(totalSlots);
  }

  heldAssignments(): Uint8Array[] {
    const running = [...this.#running.values()].filter((each) => this.#isKnownHere(each));
    return [...running.map(({ assignment }) => assignment), ...this.#results()]
      .slice(0, HELD_IDS)
      .map(({ assignmentId }) => assignmentId);
  }

  /** Running tasks, oldest first. */
  tasks(): RunningTask[] {
    return Array.from(this.#running.values(), (running) => running.forPeople());
  }

  /** A session opened: sends every result of its network that has no verdict, whether or not it was sent before. */
  opened(session: OpenSession): void {
    this.#session = session;
    this.#networkId = networkIdOf(session.welcome);
    this.#resultSender = new ResultSender(
      { identity: this.#components.identity, outbox: this.#outbox, session },
      { wallet: this.#init.wallet, onError: (error) => this.#logger.error({ error }, "cannot send results") },
    );
    this.#progress.reset();
    this.#components.blobs.opened(session);
    const unacknowledged = this.#results();
    const foreign = this.#outbox.size - unacknowledged.length;
    if (foreign > 0) this.#logger.warn({ results: foreign }, "keeping results of another network until it is dialled");
    if (unacknowledged.length > 0) this.#logger.info({ results: unacknowledged.length }, "sending results again");
    for (const head of unacknowledged) this.#resultSender.send(head);
  }

  /** The session ended; running tasks continue. */
  closed(): void {
    this.#session = undefined;
    this.#networkId = undefined;
    this.#resultSender = undefined;
    this.#components.blobs.closed();
  }

  /** Takes no more assignments. */
  drain(): void {
    this.#draining = true;
  }

  /** Stops running tasks for a reason of the node's own. */
  abandon(detail: string): void {
    for (const running of this.#running.values()) {
      if (!running.stopped) running.stop(FailureCode.FAILURE_CODE_BUSY, detail);
    }
  }

  /** Ends its timers. */
  stop(): void {
    this.#progress.stop();
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
    this.#init.onChange();
  }

  cancel({ assignmentId }: Cancel): void {
    const id = toHex(assignmentId);
    const running = this.#running.get(id);
    if (running && this.#isKnownHere(running)) {
      running.stop(FailureCode.FAILURE_CODE_CANCELLED, "");
      return;
    }
    this.#settle(id);
    this.#fail(assignmentId, failed(FailureCode.FAILURE_CODE_CANCELLED, ""));
    this.#init.onChange();
  }

  acknowledge(acks: readonly ResultAck[]): void {
    for (const ack of acks) {
      if (this.#settle(toHex(ack.assignmentId))) this.#tally.add(ack);
    }
    this.#init.onChange();
  }

  /** Results that this session's coordinator may know; without a session, all of them. */
  #results(): ResultHead[] {
    return this.#outbox.heads().filter((head) => this.#isKnownHere(head));
  }

  #isKnownHere({ networkId }: { readonly networkId: Uint8Array }): boolean {
    return this.#networkId === undefined || isKnownAt(networkId, this.#networkId);
  }

  /** False when there is no such result, or when it belongs to another network. */
  #settle(id: Hex): boolean {
    const head = this.#outbox.head(id);
    return head !== undefined && this.#isKnownHere(head) && this.#outbox.settle(id) !== undefined;
  }

  #begin(id: Hex, assignment: Assignment): void {
    if (this.#draining) throw new Declined(FailureCode.FAILURE_CODE_BUSY, "the node is draining");
    const { executors, blobs, identity } = this.#components;
    const admitted = admit(assignment.spec, {
      executors,
      slots: this.#slots,
      memoryBytes: this.#init.memoryBytes,
      running: () => this.#running.values(),
      outboxRefusal: (bytes) => this.#outbox.refusal(bytes),
    });
    this.#refusal = undefined;
    const { nodeId } = identity;
    const running = new RunningAssignment({ blobs }, { id, assignment, admitted, nodeId, networkId: this.#networkId! });
    this.#running.set(id, running);
    running.result().then(
      (output) => this.#finish(running, output),
      (error) => this.#crash(running, error),
    );
    this.#progress.follow(running);
  }

  #decline(id: Hex, { assignmentId }: Assignment, error: unknown): void {
    if (!(error instanceof Declined)) {
      this.#logger.error({ error, assignmentId: id }, "cannot start an assignment");
      this.#fail(assignmentId, failed(FailureCode.FAILURE_CODE_INTERNAL, messageOf(error)));
      return;
    }
    const { code, message } = error;
    if (message !== this.#refusal) this.#logger.warn({ assignmentId: id, detail: message }, "declined an assignment");
    this.#refusal = message;
    this.#fail(assignmentId, failed(code, message));
  }

  #finish(running: RunningAssignment, { output, outputDigest }: Required<Output>): void {
    const { id, assignment, networkId, specDigest } = running;
    this.#running.delete(id);
    const { assignmentId, taskId } = assignment;
    if (running.stopped) {
      this.#fail(assignmentId, running.stopped);
    } else {
      const outputBytes = output.length;
      const head = this.#outbox.add({
        assignmentId,
        taskId,
        specDigest,
        outputDigest,
        outputBytes,
        networkId,
        output,
      });
      if (this.#isKnownHere(head)) this.#resultSender?.send(head);
    }
    this.#init.onChange();
  }

  #crash(running: RunningAssignment, error: unknown): void {
    const { id, assignment, executor } = running;
    this.#running.delete(id);
    let end = running.stopped;
    if (!end) {
      end = failureOf(error, executor);
      this.#tally.addFailure(id, end, error);
    }
    this.#fail(assignment.assignmentId, end);
    this.#init.onChange();
  }

  /** Failures are not acknowledged. Without a stream, the next Hello says the same by leaving the assignment out. */
  #fail(assignmentId: Uint8Array, end: Failed): void {
    this.#session?.send({ $case: "failure", value: { assignmentId, ...end } });
  }

  #sendProgress(running: RunningAssignment, fraction: number): boolean {
    if (this.#session === undefined || !this.#isKnownHere(running)) return false;
    const { assignmentId } = running.assignment;
    this.#session.send({ $case: "progress", value: { assignmentId, fraction } });
    return true;
  }
}
