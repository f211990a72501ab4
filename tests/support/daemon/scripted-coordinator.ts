import { createPublicKey, randomBytes, verify } from "node:crypto";
import { Metadata, Server, ServerCredentials, type ServerDuplexStream, type status } from "@grpc/grpc-js";
import { helloMessage, merkleRoot, resultMessage, resultsMessage } from "@proof-of-compute/proto";
import {
  type CoordinatorFrame,
  HelloTerms,
  type NodeFrame,
  NodeServiceService,
  type Result,
  type Results,
  Verdict,
  type Welcome,
} from "@proof-of-compute/proto/node";

type NodeMessage = NonNullable<NodeFrame["message"]>;
type CoordinatorMessage = NonNullable<CoordinatorFrame["message"]>;
type Stream = ServerDuplexStream<NodeFrame, CoordinatorFrame>;
type ValueOf<C extends NodeMessage["$case"]> = Extract<NodeMessage, { $case: C }>["value"];

// RFC 8410: what stands before the 32 bytes of an ed25519 public key in a SubjectPublicKeyInfo.
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** Whether a node signed a message. */
export function verifySignature(nodeId: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, nodeId]), format: "der", type: "spki" });
  return verify(null, message, key, signature);
}

/**
 * A coordinator for tests: real sockets and the real wire, but it does only what its test says. Nothing is checked,
 * scheduled or stored.
 */
export class ScriptedCoordinator {
  readonly #server = new Server();
  readonly #welcome: Partial<Welcome>;
  readonly #sessions: ScriptedSession[] = [];
  readonly #waiting: ((session: ScriptedSession) => void)[] = [];
  /** Refuses every Hello so, while it is set. */
  refusal: { readonly code: status; readonly error?: string; readonly details: string } | undefined;
  port = 0;

  /** `welcome` overrides fields of Welcome. */
  constructor(welcome: Partial<Welcome> = {}) {
    this.#welcome = welcome;
    this.#server.addService(NodeServiceService, {
      connect: (stream: Stream) => this.#accept(stream),
      fetchBlob: () => {},
    });
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Listens, in plain text by default; `port` 0 is any. */
  async start(port = 0, credentials = ServerCredentials.createInsecure()): Promise<this> {
    this.port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
    return this;
  }

  /** Drops every connection. */
  stop(): void {
    this.#server.forceShutdown();
  }

  /** The next session that no caller had yet, once it is welcomed. */
  nextSession(): Promise<ScriptedSession> {
    const session = this.#sessions.shift();
    return session ? Promise.resolve(session) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  #accept(stream: Stream): void {
    const nonce = randomBytes(32);
    const session = new ScriptedSession(stream, nonce);
    stream.write({ message: { $case: "challenge", value: { nonce } } });
    void session.next("hello").then((hello) => {
      session.hello = hello;
      if (this.refusal) return session.end(this.refusal);
      session.send({
        $case: "welcome",
        value: {
          sessionId: randomBytes(16),
          coordinatorId: "scripted",
          heartbeatIntervalMs: 10_000,
          leaseMs: 60_000,
          reconnectSpreadMs: 0,
          inlineOutputBytes: 64 * 1024,
          chainId: 0n,
          contract: Buffer.alloc(0),
          ...this.#welcome,
        },
      });
      const waiting = this.#waiting.shift();
      if (waiting) waiting(session);
      else this.#sessions.push(session);
    });
  }
}

/** One node's stream, as its test drives it. */
export class ScriptedSession {
  readonly #stream: Stream;
  readonly #received: NodeMessage[] = [];
  readonly #readers = new Set<() => void>();
  readonly nonce: Buffer;
  /** Resolves when the node ended its side, or is gone. */
  readonly ended: Promise<void>;
  hello: ValueOf<"hello"> | undefined;

  constructor(stream: Stream, nonce: Buffer) {
    this.#stream = stream;
    this.nonce = nonce;
    stream.on("data", ({ message }: NodeFrame) => {
      if (message === undefined) return;
      this.#received.push(message);
      for (const reader of this.#readers) reader();
    });
    stream.on("error", () => {});
    this.ended = new Promise((resolve) => {
      stream.once("end", () => {
        stream.end();
        resolve();
      });
      stream.once("cancelled", () => resolve());
    });
  }

  get terms(): HelloTerms {
    return HelloTerms.decode(this.hello!.terms);
  }

  /** Whether Hello's signature is what the protocol asks for, for this audience. */
  helloVerifies(audience: string): boolean {
    const { nodeId, terms, signature } = this.hello!;
    return verifySignature(nodeId, helloMessage({ nonce: this.nonce, audience, nodeId, terms }), signature);
  }

  /** Whether a frame's signature is the node's over these results, for its wallet. */
  resultsVerify({ results, signature }: Results): boolean {
    const leaves = results.map((result) => resultMessage({ ...result, wallet: this.terms.wallet }));
    return verifySignature(this.hello!.nodeId, resultsMessage(merkleRoot(leaves)), signature);
  }

  send(message: CoordinatorMessage): void {
    this.#stream.write({ message });
  }

  /** Assigns these. */
  assign(...assignments: readonly { assignmentId: Buffer; taskId: Buffer; spec: Buffer }[]): void {
    this.send({ $case: "assignments", value: { assignments: [...assignments] } });
  }

  /** Acknowledges results with one verdict. */
  acknowledge(results: readonly Pick<Result, "assignmentId">[], verdict: Verdict = Verdict.VERDICT_ACCEPTED): void {
    const acks = results.map(({ assignmentId }) => ({
      assignmentId,
      verdict,
      reason: verdict === Verdict.VERDICT_ACCEPTED ? "" : "SCRIPTED",
      units: verdict === Verdict.VERDICT_ACCEPTED ? 1n : 0n,
    }));
    this.send({ $case: "acks", value: { acks } });
  }

  /** The oldest message of a kind that was not taken yet. */
  async next<C extends NodeMessage["$case"]>($case: C): Promise<ValueOf<C>> {
    for (;;) {
      const place = this.#received.findIndex((message) => message.$case === $case);
      if (place >= 0) return this.#received.splice(place, 1)[0]!.value as ValueOf<C>;
      await new Promise<void>((resolve) => {
        const reader = () => {
          this.#readers.delete(reader);
          resolve();
        };
        this.#readers.add(reader);
      });
    }
  }

  /** Kinds of the messages that were not taken yet, in order. */
  get waiting(): NodeMessage["$case"][] {
    return this.#received.map((message) => message.$case);
  }

  /** Reads nothing more until {@link resume}; what is on its way fills the buffers between. */
  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  /** Closes the stream with a status. */
  end(how: { readonly code: status; readonly error?: string; readonly details: string }): void {
    const metadata = new Metadata();
    if (how.error !== undefined) metadata.set("proof-of-compute-error", how.error);
    this.#stream.emit("error", { code: how.code, details: how.details, metadata });
  }
}
