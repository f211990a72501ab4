import { setTimeout as delay } from "node:timers/promises";
import type { HelloTerms, Welcome } from "@proof-of-compute/proto/node";
import type { Logger } from "pino";
import { DaemonError } from "../errors.ts";
import type { Identity } from "../identity.ts";
import type { Endpoint } from "./endpoint.ts";
import type { NodeMessage, SessionHandler } from "./open-session.ts";
import { type Judgement, judge } from "./refusals.ts";
import { Session } from "./session.ts";

/** Sessions in a row after which an error that only repetition makes final, such as SESSION_REPLACED, ends the daemon. */
const MAX_REPEATED = 3;
/** A session that lasted longer ends such a row. */
const STABLE_MS = 60_000;

/** State of the connection. */
export type Connection =
  | { readonly phase: "connecting"; readonly coordinator: string }
  | { readonly phase: "online"; readonly coordinator: string; readonly welcome: Welcome }
  | { readonly phase: "waiting"; readonly why: string }
  | { readonly phase: "stopped" };

/** Bounds of the wait between dials: uniform from 0 to `baseMs`, doubled with every failure up to `capMs`. */
export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Keeps one session open, to any coordinator of a list. */
export class Connector {
  readonly #logger: Logger;
  readonly #identity: Identity;
  readonly #handler: SessionHandler;
  readonly #coordinators: readonly Endpoint[];
  readonly #backoff: Backoff;
  readonly #terms: () => HelloTerms;
  readonly #onChange: () => void;
  readonly #stopping = new AbortController();
  /** The last problem logged for each coordinator; its repetition is not logged. */
  readonly #logged = new Map<Endpoint, string>();
  readonly #refusedBy = new Set<Endpoint>();
  #connection: Connection = { phase: "stopped" };
  #session: Session | undefined;
  #farewell: NodeMessage | undefined;
  #failures = 0;
  #repeated = 0;

  constructor(
    components: { readonly logger: Logger; readonly identity: Identity; readonly handler: SessionHandler },
    init: {
      readonly coordinators: readonly Endpoint[];
      readonly backoff: Backoff;
      /** As of now. */
      readonly terms: () => HelloTerms;
      readonly onChange: () => void;
    },
  ) {
    this.#logger = components.logger;
    this.#identity = components.identity;
    this.#handler = components.handler;
    this.#coordinators = init.coordinators;
    this.#backoff = init.backoff;
    this.#terms = init.terms;
    this.#onChange = init.onChange;
  }

  get connection(): Connection {
    return this.#connection;
  }

  /**
   * Dials until {@link stop}. Rejects with a {@link DaemonError} (REFUSED) when every coordinator refused this node for
   * good, or when another daemon uses its key.
   */
  async run(): Promise<void> {
    const { signal } = this.#stopping;
    try {
      for (let place = 0; !signal.aborted; place++) {
        const waitMs = await this.#connect(this.#coordinators[place % this.#coordinators.length]!);
        if (waitMs > 0) await delay(waitMs, undefined, { signal }).catch(() => {});
      }
    } finally {
      this.#set({ phase: "stopped" });
    }
  }

  /** Tells every coordinator, now and after a reconnect, that the node takes no more work. */
  drain(reason: string): void {
    this.#farewell = { $case: "draining", value: { reason } };
    if (this.#connection.phase === "online") this.#session?.send(this.#farewell);
  }

  /** Ends the session and dials no more. Safe to repeat. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#session?.close();
    await this.#session?.ended;
  }

  /** One session; resolves to the wait before the next, in milliseconds. */
  async #connect(endpoint: Endpoint): Promise<number> {
    if (this.#connection.phase !== "waiting") this.#set({ phase: "connecting", coordinator: endpoint.address });
    const dialledAt = performance.now();
    const session = new Session(
      { identity: this.#identity, handler: this.#handler },
      { endpoint, terms: this.#terms, onWelcome: (welcome) => this.#welcomed(endpoint, welcome) },
    );
    this.#session = session;
    const end = await session.ended;
    this.#session = undefined;
    if (this.#stopping.signal.aborted) return 0;
    if (end.welcomed && performance.now() - dialledAt > STABLE_MS) this.#repeated = 0;
    const judgement = judge(endpoint, end);
    if (end.askedToLeave) {
      const why = "the coordinator asked this node to reconnect";
      this.#logger.info({ coordinator: endpoint.address }, why);
      this.#set({ phase: "waiting", why });
    } else {
      this.#count(endpoint, judgement);
      this.#report(endpoint, judgement);
    }
    const backoffMs = Math.min(this.#backoff.capMs, this.#backoff.baseMs * 2 ** Math.min(this.#failures++, 20));
    return Math.random() * Math.max(backoffMs, end.spreadMs ?? 0);
  }

  #welcomed(endpoint: Endpoint, welcome: Welcome): void {
    this.#logged.delete(endpoint);
    this.#refusedBy.clear();
    // Two daemons may use the key: dialling again as soon as after a success would only make them take turns.
    if (this.#repeated === 0) this.#failures = 0;
    this.#logger.info(
      { coordinator: endpoint.address, coordinatorId: welcome.coordinatorId, chainId: Number(welcome.chainId) },
      "online",
    );
    this.#set({ phase: "online", coordinator: endpoint.address, welcome });
    if (this.#farewell) this.#session?.send(this.#farewell);
  }

  #report(endpoint: Endpoint, { key, advice }: Judgement): void {
    if (this.#logged.get(endpoint) !== key) this.#logger.warn({ coordinator: endpoint.address }, advice);
    this.#logged.set(endpoint, key);
    this.#set({ phase: "waiting", why: advice });
  }

  #count(endpoint: Endpoint, { advice, final }: Judgement): void {
    this.#repeated = final === "if repeated" ? this.#repeated + 1 : 0;
    if (final === "yes") this.#refusedBy.add(endpoint);
    if (this.#repeated >= MAX_REPEATED || this.#refusedBy.size === this.#coordinators.length) {
      throw new DaemonError("REFUSED", advice);
    }
  }

  #set(connection: Connection): void {
    this.#connection = connection;
    this.#onChange();
  }
}
