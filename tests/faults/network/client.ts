import type { Hex } from "@proof-of-compute/proto";
import type { Wallet } from "ethers";
import { SiweMessage } from "siwe";
import type { ConfigView, Problem, TaskView } from "../../../coordinator/src/edges/rest/schemas.ts";
import type { Asked } from "./history.ts";

const TIMEOUT_MS = 4_000;

/** The facade refused, and this is all that came of it. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(`${status} ${code}: ${detail}`);
    this.status = status;
    this.code = code;
  }

  /** Whether it says that nothing was done; after other errors nobody knows. */
  get certain(): boolean {
    return this.status < 500 || this.code === "QUEUE_FULL" || this.code === "DRAINING";
  }
}

/** A requester's program that uses any of several coordinators, signing in wherever it is asked to. */
export class Client {
  readonly #wallet: Wallet;
  /** Of one host, so that a session opened at one coordinator is shown to all. */
  readonly #cookies = new Map<string, string>();

  constructor(wallet: Wallet) {
    this.#wallet = wallet;
  }

  dispatch(origin: string, asked: Asked, key: string): Promise<TaskView> {
    return this.#json(origin, "POST", "/api/node/dispatch-task", asked, { "idempotency-key": key });
  }

  cancel(origin: string, taskId: Hex): Promise<TaskView> {
    return this.#json(origin, "POST", `/api/tasks/${taskId}/cancel`);
  }

  task(origin: string, taskId: Hex): Promise<TaskView> {
    return this.#json(origin, "GET", `/api/tasks/${taskId}`);
  }

  async output(origin: string, taskId: Hex): Promise<Uint8Array> {
    const response = await this.#signedIn(origin, "GET", `/api/tasks/${taskId}/result`);
    return new Uint8Array(await response.arrayBuffer());
  }

  async #json(
    origin: string,
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<TaskView> {
    return (await (await this.#signedIn(origin, method, path, body, headers)).json()) as TaskView;
  }

  async #signedIn(
    origin: string,
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    try {
      return await this.#fetch(origin, method, path, body, headers);
    } catch (error) {
      if (!(error instanceof Refused && error.code === "UNAUTHENTICATED")) throw error;
      await this.#signIn(origin);
      return this.#fetch(origin, method, path, body, headers);
    }
  }

  async #signIn(origin: string): Promise<void> {
    const { signIn } = (await (await this.#fetch(origin, "GET", "/api/config")).json()) as ConfigView;
    const { nonce } = (await (await this.#fetch(origin, "GET", "/api/auth/nonce")).json()) as { nonce: string };
    const message = new SiweMessage({
      domain: new URL(origin).host,
      address: this.#wallet.address,
      statement: "Sign in to Proof of Compute.",
      uri: origin,
      version: "1",
      chainId: signIn.chainId,
      nonce,
      issuedAt: new Date().toISOString(),
    }).prepareMessage();
    const signature = await this.#wallet.signMessage(message);
    await this.#fetch(origin, "POST", "/api/auth/sign-in", { message, signature });
  }

  async #fetch(
    origin: string,
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(origin + path, {
      method,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        origin,
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
    if (response.ok) return response;
    const { code = "", detail = "" } = (await response.json().catch(() => ({}))) as Partial<Problem>;
    throw new Refused(response.status, code, detail);
  }
}
