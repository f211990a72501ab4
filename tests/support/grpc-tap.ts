import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceError,
  status,
} from "@grpc/grpc-js";

const METHOD = "/proofofcompute.node.v1.NodeService/Connect";
const identity = (bytes: Buffer) => bytes;
/** The method without its messages' meaning: bytes in, bytes out. */
export const RAW_CONNECT = {
  Connect: {
    path: METHOD,
    requestStream: true,
    responseStream: true,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  },
} as const;

export type RawStream = ServerDuplexStream<Buffer, Buffer>;

/** Opens a stream to a coordinator whose messages are bytes. */
export function connectRaw(address: string): { call: ClientDuplexStream<Buffer, Buffer>; close(): void } {
  const client = new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  const call = client.makeBidiStreamRequest(METHOD, identity, identity, new Metadata());
  return {
    call,
    close() {
      call.cancel();
      client.close();
    },
  };
}

/** Serves node streams whose messages are bytes, on a free loopback port. */
export async function serveRaw(onStream: (stream: RawStream) => void): Promise<{ port: number; stop(): void }> {
  const server = new Server();
  server.addService(RAW_CONNECT, { Connect: onStream });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { port, stop: () => server.forceShutdown() };
}

/** One message as it went over the wire. */
export interface Frame {
  readonly from: "node" | "coordinator";
  readonly bytes: Buffer;
}

/** Stands between nodes and a coordinator, and notes every message of their streams. */
export class GrpcTap {
  /** By stream, in the order in which they were opened. */
  readonly streams: Frame[][] = [];
  /** Messages that are noted and not passed on. */
  holds: (frame: Frame) => boolean = () => false;
  /** What the coordinator gets for a message of its own, beside the node's answer; not noted. */
  answers: (frame: Frame) => Uint8Array[] = () => [];
  readonly #target: string;
  readonly #open = new Set<{ readonly down: RawStream; readonly up: ReturnType<typeof connectRaw> }>();
  #server: Awaited<ReturnType<typeof serveRaw>> | undefined;

  /** `target` is the coordinator's host:port. */
  constructor(target: string) {
    this.#target = target;
  }

  async start(): Promise<void> {
    this.#server = await serveRaw((down) => this.#join(down));
  }

  get address(): string {
    return `127.0.0.1:${this.#server!.port}`;
  }

  /** Breaks every stream, as a lost link does. */
  drop(): void {
    for (const { down, up } of this.#open) {
      up.close();
      down.emit("error", { code: status.UNAVAILABLE, details: "the tap dropped the stream" });
    }
    this.#open.clear();
  }

  stop(): void {
    this.drop();
    this.#server?.stop();
  }

  #join(down: RawStream): void {
    const up = connectRaw(this.#target);
    const pair = { down, up };
    const frames: Frame[] = [];
    this.streams.push(frames);
    this.#open.add(pair);
    const pass = (from: Frame["from"], to: { write(bytes: Buffer): unknown }) => (bytes: Buffer) => {
      const frame = { from, bytes };
      frames.push(frame);
      if (!this.holds(frame)) to.write(bytes);
      for (const answer of this.answers(frame)) up.call.write(Buffer.from(answer));
    };
    down.on("data", pass("node", up.call));
    up.call.on("data", pass("coordinator", down));
    down.on("end", () => up.call.end());
    down.on("cancelled", () => up.close());
    up.call.on("end", () => down.end());
    up.call.on("error", (error: ServiceError) => {
      if (error.code !== status.CANCELLED) down.emit("error", { code: error.code, details: error.details });
    });
  }
}
