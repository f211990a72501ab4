import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import {
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import {
  fromJSON,
  loadFileDescriptorSetFromBuffer,
  type MessageTypeDefinition,
  type Options,
  type PackageDefinition,
} from "@grpc/proto-loader";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { type StartedCoordinator, startTestCoordinator } from "../support/start-coordinator.ts";

// A client as somebody else writes one: it knows gRPC's own reflection protocol and docs/reference/protocol.md, and takes
// everything else from the running coordinator. Nothing of this repository's proto/ is used.

const NODE_SERVICE = "proofofcompute.node.v1.NodeService";
const HEALTH = "grpc.health.v1.Health";
const OPTIONS: Options = { keepCase: true, longs: String, enums: String, bytes: Buffer, defaults: true, oneofs: true };

const text = (id: number) => ({ type: "string", id });
/** As much of https://github.com/grpc/grpc/blob/master/src/proto/grpc/reflection/v1/reflection.proto as is used here. */
const REFLECTION = fromJSON(
  {
    nested: {
      "grpc.reflection.v1.ServerReflection": {
        methods: {
          ServerReflectionInfo: {
            comment: "",
            requestType: "ServerReflectionRequest",
            requestStream: true,
            responseType: "ServerReflectionResponse",
            responseStream: true,
          },
        },
      },
      ServerReflectionRequest: {
        oneofs: { message_request: { oneof: ["file_containing_symbol", "list_services"] } },
        fields: { host: text(1), file_containing_symbol: text(4), list_services: text(7) },
      },
      ServerReflectionResponse: {
        oneofs: {
          message_response: { oneof: ["file_descriptor_response", "list_services_response", "error_response"] },
        },
        fields: {
          file_descriptor_response: { type: "Files", id: 4 },
          list_services_response: { type: "Services", id: 6 },
          error_response: { type: "Failure", id: 7 },
        },
      },
      Files: { fields: { file_descriptor_proto: { rule: "repeated", type: "bytes", id: 1 } } },
      Services: { fields: { service: { rule: "repeated", type: "Service", id: 1 } } },
      Service: { fields: { name: text(1) } },
      Failure: { fields: { error_code: { type: "int32", id: 1 }, error_message: text(2) } },
    },
  },
  OPTIONS,
);

interface Reflected {
  readonly file_descriptor_response?: { readonly file_descriptor_proto: readonly Buffer[] };
  readonly list_services_response?: { readonly service: readonly { readonly name: string }[] };
  readonly error_response?: { readonly error_code: number };
}

/** A frame of the stream as proto-loader gives it: `message` names the field that is set. */
interface Frame {
  readonly message: string;
  readonly challenge: { readonly nonce: Buffer };
  readonly welcome: object;
  readonly assignments: {
    readonly assignments: readonly {
      readonly assignment_id: Buffer;
      readonly task_id: Buffer;
      readonly spec: Buffer;
    }[];
  };
  readonly reconnect: object;
}

let coordinator: StartedCoordinator;

beforeEach(async () => {
  coordinator = await startTestCoordinator({ HEARTBEAT_INTERVAL: "200ms", DRAIN_TIMEOUT: "10s" });
});

afterEach(() => coordinator.stop());

/** A client of a service that a package definition has. */
function dial(definition: PackageDefinition, service: string): Client & Record<string, (request?: unknown) => unknown> {
  const found = service
    .split(".")
    .reduce<unknown>(
      (scope, name) => (scope as Record<string, unknown>)[name],
      loadPackageDefinition(definition),
    ) as ServiceClientConstructor;
  const client = new found(coordinator.grpcAddress, credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
  });
  onTestFinished(() => client.close());
  return client as never;
}

/** Asks the reflection service one thing. */
async function reflect(request: object): Promise<Reflected> {
  const client = dial(REFLECTION, "grpc.reflection.v1.ServerReflection");
  const call = client.ServerReflectionInfo!() as ClientDuplexStream<object, Reflected>;
  call.write(request);
  const [answer] = (await once(call, "data")) as [Reflected];
  call.end();
  return answer;
}

/** The definitions of the file that has a symbol and of all that it imports, in serialized form; the base-128 length by hand. */
async function definitionsOf(symbol: string): Promise<PackageDefinition> {
  const { file_descriptor_response: files } = await reflect({ file_containing_symbol: symbol });
  const parts = files!.file_descriptor_proto.flatMap((file) => {
    const header = [0x0a];
    for (let rest = file.length; ; rest >>>= 7) {
      header.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
      if (rest <= 0x7f) break;
    }
    return [Buffer.from(header), file];
  });
  return loadFileDescriptorSetFromBuffer(Buffer.concat(parts), OPTIONS);
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/** Opens a session by docs/reference/protocol.md alone. */
async function connect() {
  const definitions = await definitionsOf(NODE_SERVICE);
  const client = dial(definitions, NODE_SERVICE);
  const stream = client.Connect!() as ClientDuplexStream<object, Frame>;
  onTestFinished(() => stream.cancel());
  const frames: Frame[] = [];
  stream.on("data", (frame: Frame) => frames.push(frame));
  const ended = new Promise<ServiceError | undefined>((resolve) => {
    stream.on("error", resolve).on("end", () => resolve(undefined));
  });
  /** The first frame of a kind that came. */
  const next = async <K extends keyof Frame>(kind: K): Promise<Frame[K]> => {
    await expect.poll(() => frames.map(({ message }) => message)).toContain(kind);
    return frames.find(({ message }) => message === kind)![kind];
  };
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const nodeId = Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url");
  const { nonce } = await next("challenge");
  const audience = Buffer.from(coordinator.grpcAddress);
  const termsType = definitions["proofofcompute.node.v1.HelloTerms"] as MessageTypeDefinition<object, object>;
  const terms = termsType.serialize({
    version: "foreign",
    wallet: Buffer.alloc(20, 7),
    kinds: ["TASK_KIND_MATMUL"],
    slots: 1,
  });
  const length = Buffer.alloc(2);
  length.writeUInt16BE(audience.length);
  const label = Buffer.from("proof-of-compute/hello/v1");
  const signature = sign(null, Buffer.concat([label, nonce, length, audience, nodeId, sha256(terms)]), privateKey);
  stream.write({ hello: { node_id: nodeId, audience: audience.toString(), terms, signature } });
  return { stream, next, ended, nodeId };
}

describe("a client that has none of our files", () => {
  it("is told which services there are", async () => {
    const { list_services_response: list } = await reflect({ list_services: "" });
    expect(list!.service.map(({ name }) => name).sort()).toEqual([HEALTH, NODE_SERVICE]);
  });

  it("gets definitions of every symbol, and an error for one that is not there", async () => {
    for (const symbol of [NODE_SERVICE, `${NODE_SERVICE}.Connect`, "proofofcompute.node.v1.TaskSpec", HEALTH]) {
      expect(Object.keys(await definitionsOf(symbol)), symbol).toContain(symbol.replace(".Connect", ""));
    }
    expect((await reflect({ file_containing_symbol: "no.such.Thing" })).error_response?.error_code).toBe(
      status.NOT_FOUND,
    );
  });

  it("opens a session with what it was told, and is given work", async () => {
    const { next, nodeId } = await connect();
    expect(await next("welcome")).toMatchObject({ heartbeat_interval_ms: 200, inline_output_bytes: 65_536 });
    const requester = "0x5FbDB2315678afecb367f032d93F642f64180aa3" as const;
    const work = { kind: "matmul", spec: { n: 64, k: 2 } } as const;
    const { task } = await coordinator.scheduler.submit({ requester, ...work, deadlineMs: 60_000 });
    const { assignments } = await next("assignments");
    expect(`0x${assignments[0]!.task_id.toString("hex")}`).toBe(task.id);
    const taken = Object.values((await coordinator.store.task(task.id))!.assignments);
    expect(taken).toMatchObject([{ nodeId: `0x${nodeId.toString("hex")}` }]);
  });
});

describe("the health service", () => {
  async function health() {
    const client = dial(await definitionsOf(HEALTH), HEALTH);
    const check = (service: string) =>
      new Promise<string>((resolve, reject) => {
        const answer = (error: ServiceError | null, reply?: { status: string }) =>
          error ? reject(error) : resolve(reply!.status);
        (client.Check as unknown as (request: object, callback: typeof answer) => void)({ service }, answer);
      });
    const watch = (service: string) => {
      const seen: string[] = [];
      const call = client.Watch!({ service }) as ClientReadableStream<{ status: string }>;
      call.on("data", ({ status }) => seen.push(status)).on("error", () => undefined);
      return seen;
    };
    return { check, watch };
  }

  it("answers for the coordinator and its service, and knows no other", async () => {
    const { check, watch } = await health();
    expect([await check(""), await check(NODE_SERVICE)]).toEqual(["SERVING", "SERVING"]);
    await expect(check("no.such.Service")).rejects.toMatchObject({ code: status.NOT_FOUND });
    const unknown = watch("no.such.Service");
    await expect.poll(() => unknown).toEqual(["SERVICE_UNKNOWN"]);
  });

  it("says so while the coordinator drains, which takes no new session and waits for work in flight", async () => {
    const { check, watch } = await health();
    const watched = watch(NODE_SERVICE);
    await expect.poll(() => watched).toEqual(["SERVING"]);
    const { stream, next, ended } = await connect();
    await next("welcome");
    const requester = "0x5FbDB2315678afecb367f032d93F642f64180aa3" as const;
    await coordinator.scheduler.submit({ requester, kind: "matmul", spec: { n: 64, k: 2 }, deadlineMs: 60_000 });
    const { assignments } = await next("assignments");
    const { assignment_id } = assignments[0]!;
    stream.write({ progress: { assignment_id, fraction: 0 } });

    const stopped = coordinator.stop();
    expect(await next("reconnect")).toMatchObject({ reason: "draining" });
    await expect.poll(() => watched).toEqual(["SERVING", "NOT_SERVING"]);
    expect([await check(""), await check(NODE_SERVICE)]).toEqual(["NOT_SERVING", "NOT_SERVING"]);
    const late = await connect();
    expect(await late.ended).toMatchObject({ code: status.UNAVAILABLE });

    stream.write({ failure: { assignment_id, code: "FAILURE_CODE_BUSY" } });
    await stopped;
    await ended;
  });
});
