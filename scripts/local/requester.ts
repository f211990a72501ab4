import { setTimeout as sleep } from "node:timers/promises";
import type { Hex } from "@proof-of-compute/proto";
import type { Wallet } from "ethers";
import { SiweMessage } from "siwe";
import type {
  BatchSummary,
  ConfigView,
  NodeView,
  Problem,
  TaskView,
} from "../../coordinator/src/edges/rest/schemas.ts";
import { LocalError } from "./children.ts";

/** States after which a task changes no more. */
const FINAL: ReadonlySet<TaskView["state"]> = new Set(["recorded", "failed", "cancelled"]);

/** Wait before a lost stream of events is opened again. */
const RETRY_MS = 500;

/** A user of the REST facade, as a program: signs in with a wallet, asks for tasks and follows them. */
export class Requester {
  readonly #origin: string;
  readonly #cookies = new Map<string, string>();

  /** `origin` is where the facade listens, for example `http://127.0.0.1:3000`. */
  constructor(origin: string) {
    this.#origin = origin;
  }

  config(signal: AbortSignal): Promise<ConfigView> {
    return this.#json("GET", "/api/config", signal);
  }

  /** The wallet's nodes. */
  async nodes(wallet: string, signal: AbortSignal): Promise<NodeView[]> {
    return (await this.#json<{ nodes: NodeView[] }>("GET", `/api/node/status?wallet=${wallet}`, signal)).nodes;
  }

  /** The batch that was closed last, if one was. */
  async lastBatch(signal: AbortSignal): Promise<BatchSummary | undefined> {
    return (await this.#json<{ items: BatchSummary[] }>("GET", "/api/batches?limit=1", signal)).items[0];
  }

  /** The receipt's file, as anybody gets it. */
  async receipt(id: Hex, signal: AbortSignal): Promise<string> {
    return (await this.#fetch("GET", `/api/receipts/${id}`, signal)).text();
  }

  /** A task of this wallet. */
  task(taskId: Hex, signal: AbortSignal): Promise<TaskView> {
    return this.#json("GET", `/api/tasks/${taskId}`, signal);
  }

  /** The output of a verified task. */
  async result(taskId: Hex, signal: AbortSignal): Promise<Uint8Array> {
    const response = await this.#fetch("GET", `/api/tasks/${taskId}/result`, signal);
    return new Uint8Array(await response.arrayBuffer());
  }

  /** Sign-In with Ethereum (EIP-4361): opens a session for the wallet. */
  async signIn(wallet: Wallet, signal: AbortSignal): Promise<void> {
    const { signIn } = await this.config(signal);
    const { nonce } = await this.#json<{ nonce: string }>("GET", "/api/auth/nonce", signal);
    const now = Date.now();
    const message = new SiweMessage({
      domain: new URL(this.#origin).host,
      address: wallet.address,
      statement: "Sign in to Proof of Compute.",
      uri: this.#origin,
      version: "1",
      chainId: signIn.chainId,
      nonce,
      issuedAt: new Date(now).toISOString(),
      expirationTime: new Date(now + 300_000).toISOString(),
    }).prepareMessage();
    await this.#json("POST", "/api/auth/sign-in", signal, { message, signature: await wallet.signMessage(message) });
  }

  /** Asks for a task; repeating the call with the same key gives the same task. */
  dispatch(request: { n: number; k: number }, idempotencyKey: string, signal: AbortSignal): Promise<TaskView> {
    return this.#json("POST", "/api/node/dispatch-task", signal, { kind: "matmul", ...request }, idempotencyKey);
  }

  /** Every state of the task from now to its final one, by server-sent events; a lost stream is opened again. */
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
    const response = await this.#fetch("GET", `/api/tasks/${taskId}/events`, signal, undefined, headers);
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

  async #json<T>(method: string, path: string, signal: AbortSignal, body?: unknown, idempotencyKey?: string) {
    const headers: Record<string, string> = idempotencyKey ? { "idempotency-key": idempotencyKey } : {};
    return (await (await this.#fetch(method, path, signal, body, headers)).json()) as T;
  }

  async #fetch(
    method: string,
    path: string,
    signal: AbortSignal,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(this.#origin + path, {
      method,
      signal,
      headers: {
        origin: this.#origin,
        ...(cookie && { cookie }),
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!;
      this.#cookies.set(name!, value!);
    }
    if (!response.ok) {
      const problem = (await response.json().catch(() => ({}))) as Partial<Problem>;
      throw new LocalError(
        `${method} ${path} was answered with ${response.status} ${problem.code ?? ""}: ${problem.detail ?? ""}`,
      );
    }
    return response;
  }
}
