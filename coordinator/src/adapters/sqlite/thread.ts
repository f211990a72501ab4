import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import { type Answer, type Call, crossed, type Request } from "./messages.ts";
import type { Operations } from "./operations.ts";

/**
 * The main thread's side of the store's thread. One message carries the calls of an event-loop turn, and one answer the
 * outcomes of a commit.
 */
export class StoreThread {
  readonly #worker: Worker;
  readonly #logger: Pick<Logger, "error">;
  readonly #onLost: (error: ComputeError) => void;
  #calls: Call[] = [];
  /** Waiting callers, in the order of their calls. */
  #callers: PromiseWithResolvers<unknown>[] = [];
  #closing = false;
  #lost: ComputeError | undefined;

  private constructor(worker: Worker, logger: Pick<Logger, "error">, onLost: (error: ComputeError) => void) {
    this.#worker = worker;
    this.#logger = logger;
    this.#onLost = onLost;
    worker.on("message", (answer: Answer) => this.#settle(answer));
    worker.on("error", (cause) => {
      logger.error({ err: cause }, "the store's thread failed");
      this.#lose(cause);
    });
    worker.on("exit", () => this.#lose());
    // The thread keeps the process alive only while a caller waits.
    worker.unref();
  }

  /**
   * Opens the database at `path`; throws UNAVAILABLE with the reason if that fails. `onLost` is called when the thread
   * ends without being closed; then all pending and later calls reject.
   */
  static async open(
    path: string,
    logger: Pick<Logger, "error">,
    onLost: (error: ComputeError) => void,
  ): Promise<StoreThread> {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData: path });
    const [answer] = (await once(worker, "message")) as [Answer];
    if (answer !== "open" && "refused" in answer) throw crossed(answer.refused);
    return new StoreThread(worker, logger, onLost);
  }

  call<Name extends keyof Operations>(
    name: Name,
    ...args: Parameters<Operations[Name]>
  ): Promise<ReturnType<Operations[Name]>> {
    if (this.#lost) return Promise.reject(this.#lost);
    const caller = Promise.withResolvers<unknown>();
    if (this.#callers.push(caller) === 1) this.#worker.ref();
    if (this.#calls.push([name, args]) === 1) setImmediate(() => this.#send());
    return caller.promise as Promise<ReturnType<Operations[Name]>>;
  }

  /** Finishes pending calls, then closes the database. */
  async close(): Promise<void> {
    if (this.#lost) return;
    this.#closing = true;
    const exit = new Promise((resolve) => this.#worker.once("exit", resolve));
    this.#worker.ref();
    this.#send();
    this.#post("close");
    await exit;
  }

  #send(): void {
    if (this.#calls.length > 0) this.#post(this.#calls);
    this.#calls = [];
  }

  #post(request: Request): void {
    this.#worker.postMessage(request);
  }

  #settle(answer: Answer): void {
    if (answer === "open" || "refused" in answer) return;
    const { values, errors, failure } = answer;
    if (failure) this.#logger.error({ err: failure.error, operations: failure.operations }, "commit failed");
    const callers = this.#callers.splice(0, values.length);
    if (this.#callers.length === 0) this.#worker.unref();
    for (const [index, { resolve, reject }] of callers.entries()) {
      const error = errors.get(index);
      if (error) reject(crossed(error));
      else resolve(values[index]);
    }
  }

  #lose(cause?: unknown): void {
    if (this.#lost) return;
    this.#lost = new ComputeError("UNAVAILABLE", this.#closing ? "the store is closed" : "the store's thread failed", {
      cause,
    });
    for (const { reject } of this.#callers.splice(0)) reject(this.#lost);
    if (!this.#closing) this.#onLost(this.#lost);
  }
}
