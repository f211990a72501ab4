import { availableParallelism, loadavg } from "node:os";
import { isDeepStrictEqual } from "node:util";
import { type ClientDuplexStream, Metadata, type StatusObject, status } from "@grpc/grpc-js";
import { helloMessage, toHex } from "@proof-of-compute/proto";
import {
  type CoordinatorFrame,
  HelloTerms,
  type KindOffer,
  type NodeFrame,
  NodeServiceClient,
  type Welcome,
} from "@proof-of-compute/proto/node";
import type { Identity } from "../identity.ts";
import { printable } from "../printable.ts";
import type { Endpoint } from "./endpoint.ts";
import type { NodeMessage, OpenSession, SessionHandler } from "./open-session.ts";
import { boundedSpread, checkWelcome } from "./welcome.ts";

/** Interval of HTTP/2 pings, and how long a peer may take to answer one. */
const KEEPALIVE_MS = 20_000;
/** From the dial to Welcome. */
const HANDSHAKE_MS = 15_000;
/** How long a coordinator may take to close the stream after the node has ended its side. */
const GOODBYE_MS = 5_000;

/** How a session ended. */
export interface SessionEnd {
  readonly status: Pick<StatusObject, "code" | "details">;
  /** The coordinator's stable code (docs/reference/protocol.md), where it gave one. */
  readonly error: string | undefined;
  /** Whether Welcome had come. */
  readonly welcomed: boolean;
  /** The coordinator asked the node to leave. */
  readonly askedToLeave: boolean;
  /** Spread over which to draw the wait before the next dial, milliseconds; undefined before Welcome. */
  readonly spreadMs: number | undefined;
}

/** One connection to one coordinator, from the dial to its end. */
export class Session implements OpenSession {
  readonly #identity: Identity;
  readonly #handler: SessionHandler;
  readonly #endpoint: Endpoint;
  readonly #client: NodeServiceClient;
  readonly #stream: ClientDuplexStream<NodeFrame, CoordinatorFrame>;
  readonly #ended = Promise.withResolvers<SessionEnd>();
  readonly #terms: () => HelloTerms;
  readonly #onWelcome: (welcome: Welcome) => void;
  #deadline: NodeJS.Timeout | undefined;
  #heartbeats: NodeJS.Timeout | undefined;
  #sequence = 0n;
  /** As Hello said. */
  #totalSlots = 0;
  /** What this coordinator heard last. */
  #offers: readonly KindOffer[] = [];
  #welcome: Welcome | undefined;
  #open = true;
  #leaving = false;
  #closing = false;
  #spreadMs: number | undefined;
  #lastHeard = performance.now();
  #problem: SessionEnd["status"] | undefined;
  #writable: PromiseWithResolvers<void> | undefined;

  /** Dials at once. `onWelcome` is called before the handler's `opened`. */
  constructor(
    components: { readonly identity: Identity; readonly handler: SessionHandler },
    init: {
      readonly endpoint: Endpoint;
      /** As of now. */
      readonly terms: () => HelloTerms;
      readonly onWelcome: (welcome: Welcome) => void;
    },
  ) {
    this.#identity = components.identity;
    this.#handler = components.handler;
    this.#endpoint = init.endpoint;
    this.#terms = init.terms;
    this.#onWelcome = init.onWelcome;
    this.#client = new NodeServiceClient(init.endpoint.address, init.endpoint.credentials, {
      "grpc.keepalive_time_ms": KEEPALIVE_MS,
      "grpc.keepalive_timeout_ms": KEEPALIVE_MS,
      // A connection of its own, without the wait after failures that a shared one brings along: the connector waits.
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_retries": 0,
      "grpc.enable_http_proxy": init.endpoint.proxy === undefined ? 0 : 1,
    });
    this.#stream = this.#client.connect();
    this.#stream.on("data", (frame) => this.#receive(frame));
    this.#stream.on("drain", () => this.#releaseWriters());
    this.#stream.on("error", () => {});
    this.#stream.on("status", (end) => this.#end(end));
    this.#deadline = setTimeout(() => this.#abandon("no Welcome came in time"), HANDSHAKE_MS);
  }

  /** How it ended, once it has. */
  get ended(): Promise<SessionEnd> {
    return this.#ended.promise;
  }

  get open(): boolean {
    return this.#open && !this.#closing;
  }

  get welcome(): Welcome {
    if (this.#welcome === undefined) throw new Error("the session is not open yet");
    return this.#welcome;
  }

  send(message: NodeMessage): boolean {
    if (!this.open) return true;
    // No frame answers a chunk, but a stalled peer soon takes no more of them. It takes small frames for much longer.
    return message.$case === "outputChunk"
      ? this.#stream.write({ message }, this.#heard)
      : this.#stream.write({ message });
  }

  writable(): Promise<void> {
    if (!this.#open || !this.#stream.writableNeedDrain) return Promise.resolve();
    this.#writable ??= Promise.withResolvers();
    return this.#writable.promise;
  }

  async *fetchBlob(sha256: Uint8Array, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    signal.throwIfAborted();
    const metadata = new Metadata();
    metadata.set("session-id", toHex(this.welcome.sessionId).slice(2));
    const call = this.#client.fetchBlob({ sha256 }, metadata);
    // The iteration below throws errors; the listener is for the one that the final cancel causes.
    call.on("error", () => {});
    const cancel = () => call.cancel();
    signal.addEventListener("abort", cancel);
    try {
      for await (const { data } of call) yield data;
    } finally {
      signal.removeEventListener("abort", cancel);
      cancel();
    }
  }

  /** Ends the stream after what was sent, and leaves a coordinator that does not answer. */
  close(): void {
    if (!this.#open || this.#closing) return;
    this.#closing = true;
    this.#stream.end();
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#abandon("closed by this node"), this.#welcome ? GOODBYE_MS : 0);
  }

  readonly #heard = () => {
    this.#lastHeard = performance.now();
  };

  #receive({ message }: CoordinatorFrame): void {
    this.#heard();
    if (message?.$case === "challenge") {
      this.#hello(message.value.nonce).catch((error) => this.#abandon(`cannot answer the challenge: ${error}`));
    } else if (message?.$case === "welcome") {
      this.#begin(message.value);
    } else if (this.#welcome !== undefined) {
      this.#obey(message);
    }
  }

  #obey(message: CoordinatorFrame["message"]): void {
    switch (message?.$case) {
      case "assignments":
        this.#handler.assign(message.value.assignments);
        break;
      case "cancel":
        this.#handler.cancel(message.value);
        break;
      case "acks":
        this.#handler.acknowledge(message.value.acks);
        if (this.#leaving) this.#leave();
        break;
      case "reconnect":
        this.#spreadMs = boundedSpread(message.value.spreadMs);
        this.#leaving = true;
        this.#leave();
        break;
      default:
      // A message of a newer protocol.
    }
  }

  async #hello(nonce: Uint8Array): Promise<void> {
    const { audience } = this.#endpoint;
    const { nodeId } = this.#identity;
    const offered = this.#terms();
    this.#totalSlots = offered.slots;
    this.#offers = offered.offers;
    const terms = HelloTerms.encode(offered).finish();
    const signature = await this.#identity.sign(helloMessage({ nonce, audience, nodeId, terms }));
    this.send({ $case: "hello", value: { nodeId, audience, terms, signature } });
  }

  #begin(given: Welcome): void {
    if (this.#welcome !== undefined || this.#problem !== undefined) return;
    let welcome: Welcome;
    try {
      welcome = checkWelcome(given);
    } catch (error) {
      this.#abandon(`its Welcome cannot be used: ${(error as Error).message}`, status.INTERNAL);
      return;
    }
    clearTimeout(this.#deadline);
    this.#welcome = welcome;
    this.#spreadMs = welcome.reconnectSpreadMs;
    this.#heartbeats = setInterval(() => this.#beat(), welcome.heartbeatIntervalMs);
    this.#onWelcome(welcome);
    this.#handler.opened(this);
  }

  #beat(): void {
    // Pings show that the peer's machine lives. Silence while verdicts are due shows that its program does not.
    const patience = Math.max(3 * this.welcome.heartbeatIntervalMs, 2 * KEEPALIVE_MS);
    const now = performance.now();
    // A node without unacknowledged results may hear nothing for hours: only silence from now on counts.
    if (this.#handler.unacknowledged === 0) this.#lastHeard = now;
    if (now - this.#lastHeard > patience) {
      this.#abandon("the coordinator stopped answering");
      return;
    }
    this.send({
      $case: "heartbeat",
      value: {
        sequence: ++this.#sequence,
        freeSlots: this.#handler.freeSlots(),
        load: Math.min(1, loadavg()[0]! / availableParallelism()),
        offers: this.#changedOffers(),
        runningAssignmentIds: this.#handler.heldAssignments(),
      },
    });
  }

  /** Empty while the coordinator knows them. */
  #changedOffers(): KindOffer[] {
    const offers = this.#handler.offers(this.#totalSlots);
    if (isDeepStrictEqual(offers, this.#offers)) return [];
    this.#offers = offers;
    return offers;
  }

  /** Leaves once the results in flight are acknowledged; the coordinator usually closes first. */
  #leave(): void {
    if (this.#handler.unacknowledged === 0) this.close();
  }

  #abandon(details: string, code = status.UNAVAILABLE): void {
    this.#problem ??= { code, details };
    this.#stream.cancel();
  }

  #end({ code, details, metadata }: StatusObject): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#deadline);
    clearInterval(this.#heartbeats);
    this.#client.close();
    this.#releaseWriters();
    if (this.#welcome !== undefined) this.#handler.closed();
    const error = metadata.get("proof-of-compute-error")[0];
    this.#ended.resolve({
      status: this.#problem ?? { code, details: printable(details) },
      error: error === undefined ? undefined : printable(String(error)),
      welcomed: this.#welcome !== undefined,
      askedToLeave: this.#leaving,
      spreadMs: this.#spreadMs,
    });
  }

  #releaseWriters(): void {
    this.#writable?.resolve();
    this.#writable = undefined;
  }
}
