import { setTimeout as sleep } from "node:timers/promises";
import type { BatchSummary, ConfigView, DispatchRequest, NodeView, TaskView } from "@proof-of-compute/coordinator/rest";
import type { Hex } from "@proof-of-compute/proto";
import type { Wallet } from "ethers";
import { RestClient } from "./rest-client.ts";
import { LocalError } from "./terminal.ts";

/** States in which a task no longer changes. */
const FINAL: ReadonlySet<TaskView["state"]> = new Set(["recorded", "failed", "cancelled"]);

/** Pause before a lost event stream is reopened, in milliseconds. */
const RETRY_MS = 500;

/** A requester that uses the REST facade: signs in with a wallet, requests tasks, and follows them. */
export class Requester {
  readonly #origin: string;
  readonly #client = new RestClient();

  /** `origin` is the facade's address, for example `http://127.0.0.1:3000`. */
  constructor(origin: string) {
    this.#origin = origin;
  }

  config(signal: AbortSignal): Promise<ConfigView> {
    return this.#json("/api/config", signal);
  }

  /** The wallet's nodes. */
  async nodes(wallet: string, signal: AbortSignal): Promise<NodeView[]> {
    return (await this.#json<{ nodes: NodeView[] }>(`/api/node/status?wallet=${wallet}`, signal)).nodes;
  }

  /** The newest batch, if there is one. */
  async lastBatch(signal: AbortSignal): Promise<BatchSummary | undefined> {
    return (await this.#json<{ items: BatchSummary[] }>("/api/batches?limit=1", signal)).items[0];
  }

  /** The sum of recorded units in the store; it may be two seconds old. */
  async recordedUnits(signal: AbortSignal): Promise<string> {
    return (await this.#json<{ units: { recorded: string } }>("/api/network", signal)).units.recorded;
  }

  /** The receipt's file, which is public. */
  async receipt(id: Hex, signal: AbortSignal): Promise<string> {
    return (await this.#fetch(`/api/receipts/${id}`, signal)).text();
  }

  /** A task of this wallet. */
  task(taskId: Hex, signal: AbortSignal): Promise<TaskView> {
    return this.#json(`/api/tasks/${taskId}`, signal);
  }

  /** The output of a verified task. */
  async result(taskId: Hex, signal: AbortSignal): Promise<Uint8Array> {
    const response = await this.#fetch(`/api/tasks/${taskId}/result`, signal);
    return new Uint8Array(await response.arrayBuffer());
  }

  /** Opens a session for the wallet. */
  signIn(wallet: Wallet, signal: AbortSignal): Promise<void> {
    return this.#client.signIn(this.#origin, wallet, signal);
  }

  /** Requests a task. Repeating the call with the same key returns the same task. */
  dispatch(body: DispatchRequest, idempotencyKey: string, signal: AbortSignal): Promise<TaskView> {
    const headers = { "idempotency-key": idempotencyKey };
    return this.#client.json(this.#origin, "POST", "/api/node/dispatch-task", { signal, body, headers });
  }

  /** Every state of the task up to the final one, by server-sent events; reopens a lost stream. */
  async *follow(taskId: Hex, signal: AbortSignal): AsyncGenerator<TaskView, void> {
    const position = { lastEventId: "" };
    for (;;) {
      try {
        for await (const task of this.#events(taskId, position, signal)) {
          yield task;
          if (FINAL.has(task.state)) return;
        }
      } catch (error) {
        if (signal.aborted || error instanceof LocalError) throw error;
      }
      await sleep(RETRY_MS, undefined, { signal });
    }
  }

  async *#events(taskId: Hex, position: { lastEventId: string }, signal: AbortSignal): AsyncGenerator<TaskView, void> {
    const headers: Record<string, string> = position.lastEventId ? { "last-event-id": position.lastEventId } : {};
    const response = await this.#fetch(`/api/tasks/${taskId}/events`, signal, headers);
    let text = "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const events = (text + chunk).split("\n\n");
      text = events.pop()!;
      for (const event of events) {
        const fields = new Map(event.split("\n").map((line) => line.split(/: ?(.*)/s, 2) as [string, string]));
        position.lastEventId = fields.get("id") ?? position.lastEventId;
        const data = fields.get("data");
        if (data !== undefined) yield JSON.parse(data) as TaskView;
      }
    }
  }

  #json<T>(path: string, signal: AbortSignal): Promise<T> {
    return this.#client.json(this.#origin, "GET", path, { signal });
  }

  #fetch(path: string, signal: AbortSignal, headers?: Record<string, string>): Promise<Response> {
    return this.#client.fetch(this.#origin, "GET", path, { signal, ...(headers && { headers }) });
  }
}
