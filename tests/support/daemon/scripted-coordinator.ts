import { createHash, createPublicKey, randomBytes, verify } from "node:crypto";
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerWritableStream,
  status,
} from "@grpc/grpc-js";
import { helloMessage, merkleRoot, resultMessage, resultsMessage } from "@proof-of-compute/proto";
import {
  type CoordinatorFrame,
  type FetchBlobRequest,
  type FetchBlobResponse,
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
type Fetch = ServerWritableStream<FetchBlobRequest, FetchBlobResponse>;
type ValueOf<C extends NodeMessage["$case"]> = Extract<NodeMessage, { $case: C }>["value"];

/** Most bytes of a piece of content. */
const PIECE = 65_536;

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
  /** Refuses every Hello with this status while it is set. */
  refusal: CallEnd | undefined;
  port = 0;
  /** What FetchBlob serves. */
  readonly blobs = new BlobScript();

  /** `welcome` overrides fields of Welcome. */
  constructor(welcome: Partial<Welcome> = {}) {
    this.#welcome = welcome;
    this.#server.addService(NodeServiceService, {
      connect: (stream: Stream) => this.#accept(stream),
      fetchBlob: (call: Fetch) => this.blobs.serve(call),
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

  /** The next session that no caller has had, once it is welcomed. */
  nextSession(): Promise<ScriptedSession> {
    const session = this.#sessions.shift();
    return session ? Promise.resolve(session) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  #accept(stream: Stream): void {
    const nonce = randomBytes(32);
    const sessionId = randomBytes(16);
    const session = new ScriptedSession(stream, nonce, sessionId.toString("hex"));
    stream.write({ message: { $case: "challenge", value: { nonce } } });
    void session.next("hello").then((hello) => {
      session.hello = hello;
      if (this.refusal) return session.end(this.refusal);
      session.send({
        $case: "welcome",
        value: {
          sessionId,
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

/** How a call is ended with a status. */
interface CallEnd {
  readonly code: status;
  readonly error?: string;
  readonly details: string;
}

function endCall(call: { emit(event: "error", error: unknown): unknown }, { code, error, details }: CallEnd): void {
  const metadata = new Metadata();
  if (error !== undefined) metadata.set("proof-of-compute-error", error);
  call.emit("error", { code, details, metadata });
}

/** Answers FetchBlob with the content that a test put here, or as `next` says. */
export class BlobScript {
  readonly #contents = new Map<string, Uint8Array>();
  readonly #answers: ((call: Fetch) => void)[] = [];
  /** The session-id of every fetch so far. */
  readonly sessions: string[] = [];

  /** Serves content from now on; returns its digest. */
  put(content: Uint8Array): Buffer {
    const digest = createHash("sha256").update(content).digest();
    this.#contents.set(digest.toString("hex"), content);
    return digest;
  }

  /** Answers the next fetch; several calls answer as many fetches, in order. */
  next(answer: (call: Fetch) => void): void {
    this.#answers.push(answer);
  }

  /** Ends the next fetch with a status, after these bytes. */
  fail(end: CallEnd, before: Uint8Array = new Uint8Array()): void {
    this.next((call) => {
      if (before.length > 0) call.write({ data: before });
      endCall(call, end);
    });
  }

  serve(call: Fetch): void {
    this.sessions.push(String(call.metadata.get("session-id")[0]));
    const answer = this.#answers.shift() ?? ((next: Fetch) => this.#send(next));
    answer(call);
  }

  #send(call: Fetch): void {
    const content = this.#contents.get(Buffer.from(call.request.sha256).toString("hex"));
    if (!content) {
      endCall(call, { code: status.NOT_FOUND, error: "NOT_FOUND", details: "there is no such content here" });
      return;
    }
    for (let offset = 0; offset < content.length; offset += PIECE) {
      call.write({ data: content.subarray(offset, offset + PIECE) });
    }
    call.end();
  }
}

/** One node's stream, as its test drives it. */
export class ScriptedSession {
  readonly #stream: Stream;
  readonly #received: NodeMessage[] = [];
  readonly #readers = new Set<() => void>();
  readonly nonce: Buffer;
  /** In hex. */
  readonly id: string;
  /** Resolves when the node has ended its side or disconnected. */
  readonly ended: Promise<void>;
  hello: ValueOf<"hello"> | undefined;

  constructor(stream: Stream, nonce: Buffer, id: string) {
    this.#stream = stream;
    this.nonce = nonce;
    this.id = id;
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

  /** Takes the oldest message of a kind that is still waiting. */
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

  /** Kinds of the waiting messages, in order. */
  get waiting(): NodeMessage["$case"][] {
    return this.#received.map((message) => message.$case);
  }

  /** Stops reading until {@link resume}; messages on their way fill the buffers. */
  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  /** Closes the stream with a status. */
  end(how: CallEnd): void {
    endCall(this.#stream, how);
  }
}
