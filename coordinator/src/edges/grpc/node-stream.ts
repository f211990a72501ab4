import { type KeyObject, randomBytes } from "node:crypto";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { type Hex, toHex } from "@proof-of-compute/proto";
import {
  type CoordinatorFrame,
  type Failure,
  type Heartbeat,
  type NodeFrame,
  type OutputChunk,
  FailureCode as WireFailureCode,
} from "@proof-of-compute/proto/node";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";

import type { Clock } from "../../ports/clock.ts";
import type { FailureCode } from "../../services/dispatch/failure.ts";
import type { Leases } from "../../services/dispatch/leases.ts";
import type { ActiveAssignment } from "../../services/fleet/active-assignment.ts";
import type { LiveNode } from "../../services/fleet/live-node.ts";
import type { Session, Sessions } from "../../services/fleet/sessions.ts";
import type { ResultIntake } from "../../services/results/intake.ts";
import { checkHello, type HandshakeInit, MAX_RUNNING } from "./handshake.ts";
import { type OfferTerms, readOffers } from "./offers.ts";
import { toServiceError } from "./status.ts";
import { StreamLink } from "./stream-link.ts";

/** How long a stream may stay without its Hello. */
const HELLO_TIMEOUT_MS = 10_000;
/** Frames of one stream that may be in work; more wait in the node. */
const MAX_PENDING = 32;

/** Characters of a failure's detail that are kept. */
const MAX_DETAIL = 1_024;

const FAILURES: Partial<Record<WireFailureCode, FailureCode>> = {
  [WireFailureCode.FAILURE_CODE_BUSY]: "BUSY",
  [WireFailureCode.FAILURE_CODE_UNSUPPORTED]: "UNSUPPORTED",
  [WireFailureCode.FAILURE_CODE_TASK]: "TASK",
  [WireFailureCode.FAILURE_CODE_CANCELLED]: "CANCELLED",
};

export interface NodeStreamComponents {
  readonly sessions: Sessions;
  readonly leases: Leases;
  readonly intake: ResultIntake;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface NodeStreamInit extends HandshakeInit {
  readonly heartbeatMs: number;
  readonly isDraining: () => boolean;
}

type Call = ServerDuplexStream<NodeFrame, CoordinatorFrame>;
type Frame = NonNullable<NodeFrame["message"]>;

/**
 * One Connect call, from Challenge to its end:
 * - `challenged`: waits for Hello.
 * - `checking`: Hello is being checked; frames before Welcome break the protocol.
 * - `open`: the session lives.
 * - `closed`.
 */
type State = "challenged" | "checking" | "open" | "closed";

/** Reads a node's frames and hands each to its service. Frames are taken in order; an unknown one is ignored. */
export class NodeStream {
  readonly #call: Call;
  readonly #components: NodeStreamComponents;
  readonly #init: NodeStreamInit;
  readonly #link: StreamLink;
  readonly #nonce = randomBytes(32);
  readonly #ended = new AbortController();
  #state: State = "challenged";
  #session: Session | undefined;
  #key: KeyObject | undefined;
  #terms: OfferTerms | undefined;
  /** The frames' work goes one after the other. */
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
      if (this.#state === "challenged") this.#fail(new ComputeError("HELLO_TIMEOUT"));
    });
    this.#call.on("data", (frame: NodeFrame) => {
      if (frame.message) this.#take(frame.message);
    });
    this.#call.on("error", () => this.#end());
    this.#call.on("cancelled", () => this.#end());
    this.#call.on("close", () => this.#end());
    this.#call.on("end", () => {
      stopTimer();
      void this.#tail.then(() => {
        this.#link.close();
        this.#end();
      });
    });
    this.#ended.signal.addEventListener("abort", stopTimer, { once: true });
    this.#link.send({ $case: "challenge", value: { nonce: this.#nonce } });
  }

  get sessionId(): Hex {
    return this.#link.sessionId;
  }

  /** Ends the stream; leases hold for the lease time. */
  close(): void {
    this.#link.close();
    this.#end();
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  #take(frame: Frame): void {
    if (this.#state === "closed") return;
    // Presence is the time of receipt, not of when its turn comes.
    this.#session?.heard();
    if (++this.#pending >= MAX_PENDING) this.#call.pause();
    this.#tail = this.#tail
      .then(() => (this.#state === "closed" ? undefined : this.#handle(frame)))
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        if (--this.#pending === MAX_PENDING - 1) this.#call.resume();
      });
  }

  #handle(frame: Frame): Promise<void> | undefined {
    if (frame.$case === "hello") {
      if (this.#state !== "challenged") throw new ComputeError("PROTOCOL_VIOLATION", "Hello comes once");
      return this.#open(frame.value);
    }
    const node = this.#session?.node;
    if (this.#state !== "open" || !node) throw new ComputeError("PROTOCOL_VIOLATION", "Hello comes first");
    switch (frame.$case) {
      case "heartbeat":
        return this.#heartbeat(node, frame.value);
      case "progress": {
        const run = this.#run(node, frame.value.assignmentId);
        if (run && run.phase !== "checking") this.#components.leases.advance(run, finite(frame.value.fraction));
        return undefined;
      }
      case "outputChunk":
        return this.#chunk(node, frame.value);
      case "results":
        return this.#components.intake.results(node, this.#key!, frame.value.results, frame.value.signature);
      case "failure":
        return this.#failure(node, frame.value);
      case "draining":
        node.drain();
        return undefined;
    }
  }

  async #open(hello: Parameters<typeof checkHello>[0]): Promise<void> {
    this.#state = "checking";
    if (this.#init.isDraining()) throw new ComputeError("DRAINING");
    const { offer, terms, key } = await checkHello(hello, this.#nonce, this.#init);
    this.#key = key;
    this.#terms = terms;
    const session = await this.#components.sessions.open(offer, this.#link, this.#ended.signal);
    this.#session = session;
    this.#state = "open";
    this.#followWork(session);
  }

  #heartbeat(node: LiveNode, { load, offers, runningAssignmentIds }: Heartbeat): undefined {
    if (runningAssignmentIds.length > MAX_RUNNING) {
      throw new ComputeError("PROTOCOL_VIOLATION", `at most ${MAX_RUNNING} running assignments`);
    }
    if (offers.length > 0) this.#session?.reoffer(readOffers(this.#terms!, offers, this.#init.kinds.names));
    node.report(finite(load));
    if (node.checking > 0 || node.uploading > 0) this.#sayAlive();
    this.#components.leases.reconcile(node, new Set(runningAssignmentIds.map(toHex)));
  }

  #chunk(node: LiveNode, { assignmentId, offset, data }: OutputChunk): Promise<void> | undefined {
    const assignment = this.#run(node, assignmentId);
    // The assignment may have been withdrawn while the node was sending.
    return assignment && this.#components.intake.chunk(assignment, offset, data);
  }

  #failure(node: LiveNode, { assignmentId, code, detail }: Failure): undefined {
    const { leases } = this.#components;
    const run = this.#run(node, assignmentId);
    if (!run || run.phase === "checking") return;
    leases.fail(run, FAILURES[code] ?? "INTERNAL", detail.slice(0, MAX_DETAIL));
  }

  /** A slow frame also delays the heartbeats queued behind it. Counts the node as alive meanwhile, and tells it so. */
  #followWork(session: Session): void {
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

  #run(node: LiveNode, assignmentId: Uint8Array): ActiveAssignment | undefined {
    return this.#components.leases.find(toHex(assignmentId), node);
  }

  #fail(error: unknown): void {
    if (this.#state === "closed") return;
    const known = error instanceof ComputeError ? error : new ComputeError("INTERNAL", undefined, { cause: error });
    const { logger } = this.#components;
    if (known.code === "INTERNAL") logger.error({ err: error, session: this.#link.sessionId }, "stream failed");
    else logger.info({ code: known.code, detail: known.message, nodeId: this.#session?.node.id }, "stream refused");
    this.#link.lost();
    this.#call.emit("error", toServiceError(known));
    this.#end();
  }

  #end(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#link.lost();
    this.#ended.abort();
    this.#session?.close();
  }
}

function finite(value: number): number {
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : 0;
}
