import { Server, ServerCredentials, type ServerDuplexStream, type ServerWritableStream } from "@grpc/grpc-js";
import { type Hex, toHex } from "@proof-of-compute/proto";
import {
  type CoordinatorFrame,
  type FetchBlobRequest,
  type FetchBlobResponse,
  type NodeFrame,
  NodeServiceService,
} from "@proof-of-compute/proto/node";
import { HealthImplementation } from "grpc-health-check";
import { ComputeError } from "../../domain/errors.ts";
import { hostPort } from "../../net/host-port.ts";
import type { Blobs } from "../../ports/blobs.ts";
import { cannotListen } from "../listen.ts";
import { BLOB_PIECE_BYTES, CLOSE_TIMEOUT_MS, FETCH_TIMEOUT_MS, MAX_FETCHES } from "./limits.ts";
import { NodeStream, type NodeStreamComponents, type NodeStreamInit } from "./node-stream.ts";
import { addReflection } from "./reflection.ts";
import { toServiceError } from "./status.ts";

const SERVICE = "proofofcompute.node.v1.NodeService";
const HEALTH = "grpc.health.v1.Health";

export interface GrpcComponents extends NodeStreamComponents {
  readonly blobs: Blobs;
}

export interface GrpcInit extends Omit<NodeStreamInit, "isDraining"> {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Streams at once, including those without a session; more are refused before they cost anything. */
  readonly maxStreams: number;
  /** PEM; undefined: plain text. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
}

/** Serves the node stream, blobs, health and reflection. */
export class GrpcServer {
  readonly #components: GrpcComponents;
  readonly #init: GrpcInit;
  readonly #streams = new Set<NodeStream>();
  /** The session of each running fetch. */
  readonly #fetches = new Map<object, string>();
  readonly #health = new HealthImplementation({ "": "SERVING", [SERVICE]: "SERVING" });
  #server: Server | undefined;
  #draining = false;
  /** The bound port. */
  port = 0;

  constructor(components: GrpcComponents, init: GrpcInit) {
    this.#components = components;
    this.#init = init;
  }

  /** Throws UNAVAILABLE when it cannot listen. */
  async start(): Promise<void> {
    const server = new Server({
      "grpc.keepalive_time_ms": 20_000,
      "grpc.keepalive_timeout_ms": 20_000,
      "grpc.max_receive_message_length": 4 * 1024 * 1024,
      "grpc.max_concurrent_streams": 16,
    });
    server.addService(NodeServiceService, {
      connect: (call: ServerDuplexStream<NodeFrame, CoordinatorFrame>) => this.#connect(call),
      fetchBlob: (call: ServerWritableStream<FetchBlobRequest, FetchBlobResponse>) => void this.#fetchBlob(call),
    });
    this.#health.addToServer(server);
    addReflection(server, [SERVICE, HEALTH]);
    const { host, port, tls } = this.#init;
    const target = hostPort({ host, port });
    const credentials = tls
      ? ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }])
      : ServerCredentials.createInsecure();
    this.port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(target, credentials, (error, bound) =>
        error ? reject(cannotListen("GRPC_ADDRESS", target, error)) : resolve(bound),
      );
    });
    this.#server = server;
  }

  /** Refuses new sessions, and reports NOT_SERVING to load balancers. */
  drain(): void {
    this.#draining = true;
    this.#health.setStatus("", "NOT_SERVING");
    this.#health.setStatus(SERVICE, "NOT_SERVING");
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    this.drain();
    for (const stream of this.#streams) stream.close();
    await new Promise<void>((resolve) => {
      const force = setTimeout(() => server.forceShutdown(), CLOSE_TIMEOUT_MS);
      server.tryShutdown(() => {
        clearTimeout(force);
        resolve();
      });
    });
  }

  #connect(call: ServerDuplexStream<NodeFrame, CoordinatorFrame>): void {
    if (this.#streams.size >= this.#init.maxStreams) {
      call.emit("error", toServiceError(new ComputeError("RATE_LIMITED", "too many streams are open here")));
      return;
    }
    const stream = new NodeStream(call, this.#components, { ...this.#init, isDraining: () => this.#draining });
    this.#streams.add(stream);
    call.on("close", () => this.#streams.delete(stream));
    call.on("cancelled", () => this.#streams.delete(stream));
    stream.start();
  }

  async #fetchBlob(call: ServerWritableStream<FetchBlobRequest, FetchBlobResponse>): Promise<void> {
    const session = String(call.metadata.get("session-id")[0]);
    const closed = new Promise<void>((resolve) => call.once("close", resolve).once("cancelled", resolve));
    const until = (event: string) => Promise.race([closed, new Promise<void>((resolve) => call.once(event, resolve))]);
    // A destroyed call buffers nothing for a reader that does not read.
    const stopTimer = this.#components.clock.after(FETCH_TIMEOUT_MS, () => call.destroy());
    try {
      if (![...this.#streams].some((stream) => stream.isOpen && stream.sessionId === `0x${session}`)) {
        throw new ComputeError("UNAUTHENTICATED", "session-id names no live session");
      }
      const own = [...this.#fetches.values()].filter((other) => other === session).length;
      if (own >= MAX_FETCHES.session || this.#fetches.size >= MAX_FETCHES.all) {
        throw new ComputeError("RATE_LIMITED", "too many fetches are running");
      }
      this.#fetches.set(call, session);
      if (call.request.sha256.length !== 32) throw new ComputeError("PROTOCOL_VIOLATION", "sha256 has 32 bytes");
      const bytes = await this.#components.blobs.get(toHex(call.request.sha256) as Hex);
      if (!bytes) throw new ComputeError("NOT_FOUND", "there is no such content here");
      for (let offset = 0; offset < bytes.length && !call.cancelled && !call.destroyed; offset += BLOB_PIECE_BYTES) {
        const data = Buffer.from(
          bytes.buffer,
          bytes.byteOffset + offset,
          Math.min(BLOB_PIECE_BYTES, bytes.length - offset),
        );
        if (!call.write({ data })) await until("drain");
      }
      if (call.cancelled || call.destroyed) return;
      call.end();
      await until("finish");
    } catch (error) {
      call.emit("error", toServiceError(error));
    } finally {
      stopTimer();
      this.#fetches.delete(call);
    }
  }
}
