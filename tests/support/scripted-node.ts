import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { type ClientReadableStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import {
  type Address,
  addressBytes,
  helloMessage,
  merkleRoot,
  resultMessage,
  resultsMessage,
  toHex,
} from "@proof-of-compute/proto";
import { computeProduct, type MatmulSpec, matmulSeed } from "@proof-of-compute/proto/kinds/matmul";
import {
  type Assignment,
  type CoordinatorFrame,
  type FetchBlobResponse,
  HelloTerms,
  type KindOffer,
  type NodeFrame,
  NodeServiceClient,
  type Result,
  type ResultAck,
  type Welcome,
} from "@proof-of-compute/proto/node";
import { TaskKind, TaskSpec } from "@proof-of-compute/proto/task";

type Down = NonNullable<CoordinatorFrame["message"]>;
type Up = NonNullable<NodeFrame["message"]>;
type Case = Down["$case"];
type Value<C extends Case> = Extract<Down, { $case: C }>["value"];

/** The node's side of a stream. */
export interface NodeCall {
  on(event: "data", listener: (frame: CoordinatorFrame) => void): unknown;
  on(event: "error", listener: (error: ServiceError) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  write(frame: NodeFrame): unknown;
  end(): unknown;
  /** Breaks the stream. */
  cancel(): void;
}

export interface ScriptedNodeInit {
  /** The address that it dials and claims to have dialled. */
  readonly address: string;
  /** The stream, if no coordinator listens at the address. */
  readonly call?: NodeCall;
  readonly wallet: Address;
  readonly kinds?: readonly TaskKind[];
  readonly slots?: number;
  readonly offers?: readonly KindOffer[];
  readonly unitsPerSecond?: bigint;
  readonly privateKey?: KeyObject;
  readonly running?: readonly Uint8Array[];
}

/** Changes to the Hello, for dishonest nodes. */
export interface HelloTricks {
  readonly audience?: string;
  readonly nonce?: Uint8Array;
  readonly signWith?: KeyObject;
  readonly terms?: Uint8Array;
}

/** A node that a test drives by hand, honest or not. It sends nothing on its own. */
export class ScriptedNode {
  readonly privateKey: KeyObject;
  readonly nodeId: Buffer;
  welcome: Welcome | undefined;
  /** Set once the stream has ended. */
  ended: Promise<ServiceError | undefined>;
  readonly #init: ScriptedNodeInit;
  readonly #client: NodeServiceClient | undefined;
  readonly #call: NodeCall;
  readonly #frames: Down[] = [];
  #notify: () => void = () => {};
  #error: ServiceError | undefined;
  #over = false;

  constructor(init: ScriptedNodeInit) {
    this.#init = init;
    this.privateKey = init.privateKey ?? generateKeyPairSync("ed25519").privateKey;
    this.nodeId = rawPublicKey(this.privateKey);
    if (init.call) {
      this.#call = init.call;
    } else {
      this.#client = new NodeServiceClient(init.address, credentials.createInsecure(), {
        "grpc.use_local_subchannel_pool": 1,
      });
      this.#call = this.#client.connect();
    }
    this.#call.on("data", ({ message }: CoordinatorFrame) => {
      if (message) this.#frames.push(message);
      this.#notify();
    });
    this.ended = new Promise((resolve) => {
      const end = () => {
        this.#over = true;
        this.#notify();
        resolve(this.#error);
      };
      this.#call.on("error", (error: ServiceError) => {
        this.#error = error;
        end();
      });
      this.#call.on("end", end);
    });
  }

  /** Opens a session. Rejects with the stream's error when it is refused. */
  async open(tricks: HelloTricks = {}): Promise<this> {
    const challenge = await this.next("challenge");
    const { address, wallet, slots = 1, unitsPerSecond, running = [] } = this.#init;
    const { kinds = [TaskKind.TASK_KIND_MATMUL], offers = [] } = this.#init;
    const audience = tricks.audience ?? address;
    const terms =
      tricks.terms ??
      HelloTerms.encode({
        version: "scripted",
        wallet: addressBytes(wallet),
        kinds: [...kinds],
        slots,
        hardware: { cpuModel: "scripted", cpuCores: 1, memoryBytes: 1n, platform: "test" },
        offers: [...offers],
        runningAssignmentIds: running.map((id) => Buffer.from(id)),
        authorization: undefined,
        unitsPerSecond,
      }).finish();
    const nonce = tricks.nonce ?? challenge.nonce;
    const message = helloMessage({ nonce, audience, nodeId: this.nodeId, terms });
    const signature = sign(null, message, tricks.signWith ?? this.privateKey);
    this.send({ $case: "hello", value: { nodeId: this.nodeId, audience, terms: Buffer.from(terms), signature } });
    this.welcome = await this.next("welcome");
    return this;
  }

  send(message: Up): void {
    this.#call.write({ message });
  }

  heartbeat(running: readonly Uint8Array[] = [], change: { load?: number; offers?: KindOffer[] } = {}): void {
    const runningAssignmentIds = running.map((id) => Buffer.from(id));
    const value = { sequence: 1n, freeSlots: 1, load: 0, offers: [], runningAssignmentIds, ...change };
    this.send({ $case: "heartbeat", value });
  }

  /** The next frame of a kind; earlier frames of other kinds stay. Rejects when the stream ends without one. */
  async next<C extends Case>(kind: C): Promise<Value<C>> {
    for (;;) {
      const index = this.#frames.findIndex(({ $case }) => $case === kind);
      if (index >= 0) return this.#frames.splice(index, 1)[0]!.value as Value<C>;
      if (this.#over) throw this.#error ?? new Error(`the stream ended without ${kind}`);
      await new Promise<void>((resolve) => {
        this.#notify = resolve;
      });
    }
  }

  /** The next assignment, accepted. */
  async assignment(): Promise<Assignment> {
    const { assignments } = await this.next("assignments");
    const [assignment, ...more] = assignments;
    if (more.length > 0) this.#frames.unshift({ $case: "assignments", value: { assignments: more } });
    this.send({ $case: "progress", value: { assignmentId: assignment!.assignmentId, fraction: 0 } });
    return assignment!;
  }

  /** The correct output. */
  solve({ assignmentId, taskId, spec }: Assignment): Buffer {
    const { kind } = TaskSpec.decode(spec);
    if (kind?.$case === "echo") return Buffer.from(kind.value.input);
    const seed = matmulSeed({ assignmentId, taskId, nodeId: this.nodeId, specDigest: digest(spec) });
    return Buffer.from(computeProduct({ seed, ...(kind!.value as MatmulSpec) })!);
  }

  /** An honest result; `change` makes it dishonest. */
  result(assignment: Assignment, output: Buffer, change: Partial<Result> = {}): Result {
    const { assignmentId, taskId, spec } = assignment;
    return { assignmentId, taskId, specDigest: digest(spec), outputDigest: digest(output), output, ...change };
  }

  /** Signs and sends a frame; `signWith` and `wallet` sign as another node. */
  sendResults(results: Result[], as: { signWith?: KeyObject; wallet?: Address } = {}): void {
    const wallet = addressBytes(as.wallet ?? this.#init.wallet);
    const root = merkleRoot(results.map((result) => resultMessage({ ...result, wallet })));
    const signature = sign(null, resultsMessage(root), as.signWith ?? this.privateKey);
    this.send({ $case: "results", value: { results, signature } });
  }

  /** The next verdict; skips frames without one. */
  async ack(): Promise<ResultAck> {
    for (;;) {
      const { acks } = await this.next("acks");
      const [ack, ...more] = acks;
      if (more.length > 0) this.#frames.unshift({ $case: "acks", value: { acks: more } });
      if (ack) return ack;
    }
  }

  /** Fetches a blob in this session; only the test reads the stream. */
  fetchBlob(sha256: Uint8Array): ClientReadableStream<FetchBlobResponse> {
    const metadata = new Metadata();
    metadata.set("session-id", toHex(this.welcome!.sessionId).slice(2));
    return this.#client!.fetchBlob({ sha256 }, metadata);
  }

  close(): void {
    this.#call.end();
    this.#client?.close();
  }

  /** Breaks the stream as a lost link does. */
  drop(): void {
    this.#call.cancel();
    this.#client?.close();
  }
}

function digest(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

function rawPublicKey(privateKey: KeyObject): Buffer {
  const { d: _, ...jwk } = privateKey.export({ format: "jwk" });
  return Buffer.from(jwk.x!, "base64url");
}
