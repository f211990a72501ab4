import { EventEmitter } from "node:events";
import { totalmem } from "node:os";
import { join } from "node:path";
import { type Address, addressBytes, TASK_KINDS } from "@proof-of-compute/proto";
import type { HelloTerms, NodeAuthorization } from "@proof-of-compute/proto/node";
import type { Logger } from "pino";
import { BlobCache } from "./blobs/blob-cache.ts";
import { Blobs } from "./blobs/blobs.ts";
import type { Identity } from "./identity.ts";
import { KIND_OF_UNITS_PER_SECOND } from "./kinds/index.ts";
import type { Executor } from "./kinds/kind.ts";
import type { Rates } from "./kinds/rates.ts";
import { Outbox } from "./outbox/outbox.ts";
import { type Backoff, type Connection, Connector } from "./session/connector.ts";
import type { Endpoint } from "./session/endpoint.ts";
import { hardware } from "./session/hardware.ts";
import { Runner } from "./tasks/runner.ts";
import type { RunningTask } from "./tasks/running-assignment.ts";
import { Slots } from "./tasks/slots.ts";
import type { Counts } from "./tasks/tally.ts";
import { VERSION } from "./version.ts";

/** How long stopped tasks may take to end. */
const CANCEL_MS = 1_000;

/** What a daemon works for, and with what. */
export interface DaemonInit {
  /** The wallet that earns. */
  readonly wallet: Address;
  /** Coordinators of one network, tried in turn. */
  readonly coordinators: readonly Endpoint[];
  /** Assignments at once of the kinds that compute on the processor, 1 to 1,024. */
  readonly slots: number;
  /** What each kind's slots compute; absent: not known. */
  readonly rates?: Rates;
  /** Folder of outbox and cached blobs; it belongs to this daemon alone (`openDataDir`). */
  readonly dataDir: string;
  /** Main memory that running tasks may take together; default: half of the machine's. */
  readonly memoryBytes?: number;
  /** Disk that results without a verdict may take; default: 1 GiB. */
  readonly outboxMaxBytes?: number;
  /** Disk that cached blobs may take; default: 1 GiB. */
  readonly blobCacheBytes?: number;
  /** How long {@link Daemon.drain} waits for running tasks; default: 30 s. */
  readonly drainTimeoutMs?: number;
  /** The wallet's permission for this node to earn for it. */
  readonly authorization?: NodeAuthorization;
  /** Waits between dials; default: 1 s, doubling up to 30 s. */
  readonly backoff?: Backoff;
}

/** What a daemon is doing, for people. */
export interface DaemonSnapshot {
  readonly connection: Connection;
  /** Of all kinds together. */
  readonly slots: number;
  readonly tasks: readonly RunningTask[];
  readonly counts: Counts;
  /** Results without a verdict. */
  readonly unacknowledged: number;
  /** Why the last assignment was declined, if it was. */
  readonly refusal: string | undefined;
  readonly draining: boolean;
}

/**
 * A node: takes assignments from a coordinator, computes them, and keeps their results until a verdict. Emits `change` when
 * {@link Daemon.snapshot} may have changed.
 */
export class Daemon extends EventEmitter<{ change: [] }> {
  readonly #logger: Logger;
  readonly #init: DaemonInit;
  readonly #executors: readonly Executor[];
  readonly #slots: Slots;
  readonly #outbox: Outbox;
  readonly #runner: Runner;
  readonly #connector: Connector;
  readonly #ended = Promise.withResolvers<void>();
  #draining = false;

  /** Several daemons in one process may share executors; their creator stops them. */
  constructor(
    components: { readonly logger: Logger; readonly identity: Identity; readonly executors: readonly Executor[] },
    init: DaemonInit,
  ) {
    super();
    const { logger, identity, executors } = components;
    this.#logger = logger;
    this.#executors = executors;
    this.#init = init;
    const onChange = () => this.emit("change");
    this.#slots = new Slots(executors, { cpu: init.slots, rates: init.rates ?? new Map() });
    // One folder per wallet, because a result earns for the wallet of its assignment.
    const dir = join(init.dataDir, "outbox", init.wallet.toLowerCase());
    this.#outbox = new Outbox({ logger }, { dir, maxBytes: init.outboxMaxBytes ?? 2 ** 30 });
    const cache = new BlobCache(
      { logger },
      { dir: join(init.dataDir, "blobs"), maxBytes: init.blobCacheBytes ?? 2 ** 30 },
    );
    const blobs = new Blobs({ logger, cache });
    this.#runner = new Runner(
      { logger, identity, executors, slots: this.#slots, outbox: this.#outbox, blobs },
      { wallet: addressBytes(init.wallet), memoryBytes: init.memoryBytes ?? totalmem() / 2, onChange },
    );
    this.#connector = new Connector(
      { logger, identity, handler: this.#runner },
      {
        coordinators: init.coordinators,
        backoff: init.backoff ?? { baseMs: 1_000, capMs: 30_000 },
        terms: () => this.#terms(),
        onChange,
      },
    );
    this.#ended.promise.catch(() => {});
  }

  /** Resolves once the daemon has stopped; rejects with a DaemonError when it cannot continue. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get connection(): Connection {
    return this.#connector.connection;
  }

  snapshot(): DaemonSnapshot {
    return {
      connection: this.connection,
      slots: this.#slots.total,
      tasks: this.#runner.tasks(),
      counts: this.#runner.counts,
      unacknowledged: this.#outbox.size,
      refusal: this.#runner.refusal,
      draining: this.#draining,
    };
  }

  /** Reads the outbox and begins to dial. */
  async start(): Promise<void> {
    await this.#outbox.start();
    this.#connector.run().then(this.#ended.resolve, this.#ended.reject);
  }

  /** Takes no more work, lets running tasks finish within the drain time, waits for verdicts, and stops. */
  async drain(reason: string): Promise<void> {
    this.#draining = true;
    this.#runner.drain();
    this.#connector.drain(reason);
    this.emit("change");
    await this.#until(this.#isDone, this.#init.drainTimeoutMs ?? 30_000);
    if (this.#runner.running > 0) {
      this.#logger.warn({ tasks: this.#runner.running }, "drain time over, stopping unfinished tasks");
      this.#runner.abandon("the node shut down before the task was done");
      await this.#until(() => this.#runner.running === 0, CANCEL_MS);
    }
    if (this.#outbox.size > 0) {
      this.#logger.info({ results: this.#outbox.size }, "keeping results without a verdict for the next start");
    }
    await this.stop();
  }

  /** Stops without waiting for tasks; results stay in the outbox. Safe to repeat. */
  async stop(): Promise<void> {
    this.#runner.drain();
    this.#runner.abandon("the node shut down");
    await this.#connector.stop();
    this.#runner.stop();
    await this.#outbox.stop();
  }

  /** No verdict can come without a coordinator, or from one of another network. */
  readonly #isDone = () =>
    this.#runner.running === 0 && (this.#runner.unacknowledged === 0 || this.connection.phase !== "online");

  #until(condition: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (condition()) end();
      };
      const end = () => {
        clearTimeout(timer);
        this.off("change", check);
        resolve();
      };
      const timer = setTimeout(end, timeoutMs);
      this.on("change", check);
      check();
    });
  }

  #terms(): HelloTerms {
    const { wallet, authorization, rates } = this.#init;
    const slots = this.#slots.total;
    const rate = rates?.get(KIND_OF_UNITS_PER_SECOND);
    return {
      version: VERSION,
      wallet: addressBytes(wallet),
      kinds: this.#executors.map(({ kind }) => TASK_KINDS[kind.name]),
      slots,
      hardware: hardware(),
      offers: this.#slots.offers(slots),
      runningAssignmentIds: this.#runner.heldAssignments(),
      authorization,
      ...(rate !== undefined && { unitsPerSecond: BigInt(rate) }),
    };
  }
}
