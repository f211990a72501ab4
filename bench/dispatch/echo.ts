/**
 * Peer (a): bare bidirectional grpc-js streams between two processes, with messages as large as a task's and as many in
 * flight, and nothing else: no protobuf, no check, no store. What the transport alone can do.
 */
import { randomBytes } from "node:crypto";
import {
  Client,
  type ClientDuplexStream,
  credentials,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
} from "@grpc/grpc-js";
import { Contender, closedLoop, contend } from "../contender.ts";
import { NODES, REQUEST_BYTES, RESPONSE_BYTES, SLOTS } from "./load.ts";

const identity = (bytes: Buffer) => bytes;
const ECHO: MethodDefinition<Buffer, Buffer> = {
  path: "/bench.Echo/Connect",
  requestStream: true,
  responseStream: true,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
};

type Stream = ServerDuplexStream<Buffer, Buffer>;

/** The coordinator's side: sends requests down the streams that the nodes opened. */
async function serve(): Promise<void> {
  const streams: Stream[] = [];
  const waiting = new Map<Stream, (() => void)[]>();
  const connected = Promise.withResolvers<void>();
  const server = new Server();
  server.addService(
    { Connect: ECHO },
    {
      Connect: (stream: Stream) => {
        const answers: (() => void)[] = [];
        waiting.set(stream, answers);
        // One stream answers in order.
        stream.on("data", () => answers.shift()?.());
        stream.on("error", () => {});
        stream.on("end", () => stream.end());
        if (streams.push(stream) === NODES) connected.resolve();
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const { contender: nodes } = await Contender.start(new URL(import.meta.url), ["nodes", String(port)]);
  await connected.promise;
  const request = randomBytes(REQUEST_BYTES);
  const roundTrip = (lane: number) => {
    const stream = streams[lane % NODES]!;
    return new Promise<void>((resolve) => {
      waiting.get(stream)!.push(resolve);
      stream.write(request);
    });
  };
  contend(
    `${port}`,
    (milliseconds) => closedLoop(NODES * SLOTS, milliseconds, roundTrip),
    async () => {
      await nodes.stop();
      server.forceShutdown();
    },
  );
}

/** The nodes' side: answers whatever comes. */
function connect(port: string): void {
  const response = randomBytes(RESPONSE_BYTES);
  const clients = Array.from({ length: NODES }, () => {
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
    });
    const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(ECHO.path, identity, identity);
    stream.on("data", () => stream.write(response));
    stream.on("error", () => {});
    return client;
  });
  contend(
    "connected",
    () => Promise.reject(new Error("the nodes of the echo do not measure")),
    () => {
      for (const client of clients) client.close();
    },
  );
}

const [role, port] = process.argv.slice(2);
if (role === "nodes") connect(port!);
else await serve();
