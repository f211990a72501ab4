import { type KeyObject, randomBytes } from "node:crypto";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { type Hex, toHex } from "@proof-of-compute/proto";
import {
  type CoordinatorFrame,
  type Heartbeat,
  type Hello,
  type NodeFrame,
  FailureCode as WireFailureCode,
} from "@proof-of-compute/proto/node";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import type { Clock } from "../../ports/clock.ts";
import type { FailureCode } from "../../services/dispatch/failure.ts";
import type { Leases } from "../../services/dispatch/leases.ts";
import type { ActiveAssignment } from "../../services/fleet/active-assignment.ts";
import type { Session, Sessions } from "../../services/fleet/sessions.ts";
import type { ResultIntake } from "../../services/results/intake.ts";
import { checkHello, type HandshakeInit } from "./handshake.ts";
import { HELLO_TIMEOUT_MS, MAX_DETAIL, MAX_PENDING, MAX_RUNNING } from "./limits.ts";
import { type OfferTerms, readOffers } from "./offers.ts";
import { toServiceError } from "./status.ts";
import { StreamLink } from "./stream-link.ts";

/** Every code that is not here reads as INTERNAL. */
const FAILURE_CODES: Partial<Record<WireFailureCode, FailureCode>> = {
  [WireFailureCode.FAILURE_CODE_BUSY]: "BUSY",
  [WireFailureCode.FAILURE_CODE_UNSUPPORTED]: "UNSUPPORTED",
  [WireFailureCode.FAILURE_CODE_TASK]: "TASK",
  [WireFailureCode.FAILURE_CODE_CANCELLED]: "CANCELLED",
};

export interface NodeStreamComponents {
  readonly sessions: Pick<Sessions, "open">;
  readonly leases: Pick<Leases, "find" | "advance" | "fail" | "reconcile">;
  readonly intake: Pick<ResultIntake, "chunk" | "results">;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface NodeStreamInit extends HandshakeInit {
  readonly heartbeatMs: number;
  readonly isDraining: () => boolean;
}

/** A stream's call, as gRPC gives it. */
export type Call = ServerDuplexStream<NodeFrame, CoordinatorFrame>;
type Frame = NonNullable<NodeFrame["message"]>;

/** What an open stream knows of its node. */
interface Open {
  readonly phase: "open";
  readonly session: Session;
  /** The node's public key. */
  readonly key: KeyObject;
  readonly terms: OfferTerms;
}

/**
 * One Connect call, from Challenge to its end:
 * - `challenged`: waits for Hello.
 * - `checking`: Hello is being checked and the session opened; frames behind it wait.
 * - `open`: the session lives.
 * - `closed`.
 */
type State = { readonly phase: "challenged" | "checking" | "closed" } | Open;

/** Reads a node's frames and hands each to its service. Frames are taken in order; an unknown one is ignored. */
export class NodeStream {
  readonly #call: Call;
  readonly #components: NodeStreamComponents;
  readonly #init: NodeStreamInit;
  readonly #link: StreamLink;
  readonly #nonce = randomBytes(32);
  readonly #ended = new AbortController();
  #state: State = { phase: "challenged" };
  /** Frames are handled one after the other. */
  #tail: Promise<void> = Promise.resolve();
  #pending = 0;

  constructor(call: Call, components: NodeStreamComponents, init: NodeStreamInit) {
    this.#call = call;
    this.#components = components;
    this.#init = init;
    this.#link = new StreamLink(call, toHex(randomBytes(16)));
  }

  start(): void {
    const stopTimer = this.#components.clock.after(HELLO_TIMEOUT_MS, () => {
      if (this.#state.phase === "challenged") this.#fail(new ComputeError("HELLO_TIMEOUT"));
    });
    this.#ended.signal.addEventListener("abort", stopTimer, { once: true });
    this.#call.on("data", ({ message }: NodeFrame) => {
      if (message) this.#take(message);
    });
    for (const event of ["error", "cancelled", "close"]) this.#call.on(event, () => this.#end());
    this.#call.on("end", () => {
      stopTimer();
      void this.#tail.then(() => this.close());
    });
    this.#link.send({ $case: "challenge", value: { nonce: this.#nonce } });
  }

  get sessionId(): Hex {
    return this.#link.sessionId;
  }

  get isOpen(): boolean {
    return this.#state.phase === "open";
  }

  /** Ends the stream; leases hold for the lease time. */
  close(): void {
    this.#link.close();
    this.#end();
  }

  #take(frame: Frame): void {
    if (this.#state.phase === "closed") return;
    // Presence counts from the receipt of a frame, not from its turn.
    if (this.#state.phase === "open") this.#state.session.heard();
    if (++this.#pending >= MAX_PENDING) this.#call.pause();
    this.#tail = this.#tail
      .then(() => this.#handle(frame))
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        if (--this.#pending === MAX_PENDING - 1) this.#call.resume();
      });
  }

  /** Returns a promise when the frames behind have to wait. */
  #handle(frame: Frame): Promise<void> | undefined {
    const state = this.#state;
    if (state.phase === "closed") return undefined;
    if (frame.$case === "hello") {
      if (state.phase !== "challenged") throw new ComputeError("PROTOCOL_VIOLATION", "Hello comes once");
      return this.#open(frame.value);
    }
    if (state.phase !== "open") throw new ComputeError("PROTOCOL_VIOLATION", "Hello comes first");
    const { leases, intake } = this.#components;
    const { node } = state.session;
    switch (frame.$case) {
      case "heartbeat":
        return this.#heartbeat(state, frame.value);
      case "draining":
        node.drain();
        return undefined;
      case "results":
        return intake.results(node, state.key, frame.value.results, frame.value.signature);
      case "outputChunk": {
        const { assignmentId, offset, data } = frame.value;
        const assignment = this.#find(state, assignmentId);
        return assignment && intake.chunk(assignment, offset, data);
      }
      case "progress": {
        const { assignmentId, fraction } = frame.value;
        const assignment = this.#find(state, assignmentId);
        if (assignment) leases.advance(assignment, clamp(fraction));
        return undefined;
      }
      case "failure": {
        const { assignmentId, code, detail } = frame.value;
        const assignment = this.#find(state, assignmentId);
        if (assignment) leases.fail(assignment, FAILURE_CODES[code] ?? "INTERNAL", detail.slice(0, MAX_DETAIL));
        return undefined;
      }
    }
  }

  async #open(hello: Hello): Promise<void> {
    this.#state = { phase: "checking" };
    if (this.#init.isDraining()) throw new ComputeError("DRAINING");
    const { offer, terms, key } = await checkHello(hello, this.#nonce, this.#init);
    const session = await this.#components.sessions.open(offer, this.#link, this.#ended.signal);
    // Opening may have sent the node more than it reads.
    if (this.#ended.signal.aborted) return session.close();
    this.#state = { phase: "open", session, key, terms };
    this.#keepAlive(session);
  }

  #heartbeat({ session, terms }: Open, { load, offers, runningAssignmentIds }: Heartbeat): undefined {
    if (runningAssignmentIds.length > MAX_RUNNING) {
      throw new ComputeError("PROTOCOL_VIOLATION", `at most ${MAX_RUNNING} running assignments`);
    }
    const { node } = session;
    if (offers.length > 0) session.reoffer(readOffers(terms, offers, this.#init.kinds.names));
    node.report(clamp(load));
    if (node.checking > 0 || node.uploading > 0) this.#sayAlive();
    this.#components.leases.reconcile(node, new Set(runningAssignmentIds.map(toHex)));
  }

  /** A slow frame also delays the heartbeats queued behind it. Counts the node as alive meanwhile, and tells it so. */
  #keepAlive(session: Session): void {
    const stop = this.#components.clock.every(this.#init.heartbeatMs, () => {
      if (this.#pending === 0) return;
      session.heard();
      this.#sayAlive();
    });
    this.#ended.signal.addEventListener("abort", stop, { once: true });
  }

  /** Nodes drop a coordinator that is silent while verdicts are pending. An empty Acks frame keeps the session alive. */
  #sayAlive(): void {
    this.#link.send({ $case: "acks", value: { acks: [] } });
  }

  /** A live assignment of the node whose result is not here; undefined when it ended while the node was sending. */
  #find({ session }: Open, assignmentId: Uint8Array): ActiveAssignment | undefined {
    const assignment = this.#components.leases.find(toHex(assignmentId), session.node);
    return assignment?.phase === "checking" ? undefined : assignment;
  }

  #fail(error: unknown): void {
    const state = this.#state;
    if (state.phase === "closed") return;
    const known = error instanceof ComputeError ? error : new ComputeError("INTERNAL", undefined, { cause: error });
    const { logger } = this.#components;
    const session = this.#link.sessionId;
    const nodeId = state.phase === "open" ? state.session.node.id : undefined;
    if (known.code === "INTERNAL") logger.error({ err: error, session, nodeId }, "stream failed");
    else logger.info({ code: known.code, detail: known.message, session, nodeId }, "stream refused");
    this.#link.lost();
    this.#call.emit("error", toServiceError(known));
    this.#end();
  }

  #end(): void {
    const state = this.#state;
    if (state.phase === "closed") return;
    this.#state = { phase: "closed" };
    this.#link.lost();
    this.#ended.abort();
    if (state.phase === "open") state.session.close();
  }
}

/** A fraction as it came off the wire, within 0 and 1. */
function clamp(fraction: number): number {
  return Number.isFinite(fraction) ? Math.min(1, Math.max(0, fraction)) : 0;
}
