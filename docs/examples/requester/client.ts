/** What the examples share: a requester of one coordinator, with nothing but `fetch` and a wallet. */
import { createHash } from "node:crypto";
import { Wallet } from "ethers";

/** Where the coordinator's REST API is; `npm start` serves it here. */
export const COORDINATOR = process.env.COORDINATOR_URL ?? "http://127.0.0.1:3000";

/** The fields of a task that the examples read; the OpenAPI document has all of them. */
export interface Task {
  readonly id: string;
  readonly kind: string;
  readonly state: "queued" | "running" | "cancelling" | "verified" | "batched" | "recorded" | "failed" | "cancelled";
  /** Why a queued task waits. */
  readonly waitingReason?: string;
  /** How far the running assignment has come, 0 to 1. */
  readonly progress?: number;
  /** What its receipt is worth, as a decimal. */
  readonly units?: string;
  readonly resultDigest?: string;
  /** From `verified` on. */
  readonly receiptId?: string;
  readonly batch?: { readonly id: number };
  /** Why it ended without a result. */
  readonly error?: { readonly code: string; readonly detail: string };
}

/** What to compute: a product of k matrices of n x n. */
export interface TaskRequest {
  readonly kind: "matmul";
  readonly matmul: { readonly n: number; readonly k: number };
  /** The task fails when it has no result by then. */
  readonly deadlineSeconds?: number;
}

/** A coordinator refused a request (RFC 9457). */
export class ProblemError extends Error {
  readonly status: number;
  /** Stable; docs/reference/errors.md says what each one means. */
  readonly code: string;
  /** Seconds after which the same request may succeed, where the coordinator says so. */
  readonly retryAfter: number | undefined;

  constructor(request: string, response: Response, problem: { readonly code?: string; readonly detail?: string }) {
    super(`${request}: ${response.status} ${problem.code ?? ""}: ${problem.detail ?? response.statusText}`);
    this.status = response.status;
    this.code = problem.code ?? "";
    const retryAfter = response.headers.get("retry-after");
    this.retryAfter = retryAfter === null ? undefined : Number(retryAfter);
  }
}

/** SHA-256, written as the API writes digests. */
export function sha256(bytes: Uint8Array): string {
  return `0x${createHash("sha256").update(bytes).digest("hex")}`;
}

export class Requester {
  readonly #origin: string;
  readonly #cookies = new Map<string, string>();

  private constructor(origin: string) {
    this.#origin = origin;
  }

  /**
   * Signs in with a wallet (EIP-4361). Its address is the requester of every task; the session lasts 24 hours. The wallet
   * signs a text here and nothing else: asking for tasks costs no coins.
   */
  static async signIn(origin = COORDINATOR): Promise<Requester> {
    const { PRIVATE_KEY } = process.env;
    const wallet = PRIVATE_KEY ? new Wallet(PRIVATE_KEY) : Wallet.createRandom();
    const requester = new Requester(origin);
    const { signIn } = await requester.get<{ signIn: { chainId: number } }>("/api/config");
    const { nonce } = await requester.get<{ nonce: string }>("/api/auth/nonce");
    const now = Date.now();
    const message = [
      `${new URL(origin).host} wants you to sign in with your Ethereum account:`,
      wallet.address,
      "",
      "Sign in to Proof of Compute.",
      "",
      `URI: ${origin}`,
      "Version: 1",
      `Chain ID: ${signIn.chainId}`,
      `Nonce: ${nonce}`,
      `Issued At: ${new Date(now).toISOString()}`,
      `Expiration Time: ${new Date(now + 300_000).toISOString()}`,
    ].join("\n");
    await requester.post("/api/auth/sign-in", { message, signature: await wallet.signMessage(message) });
    console.log(`signed in as ${wallet.address}`);
    return requester;
  }

  /**
   * Asks for a task. With the same key the same request gives the same task, however often it is sent, so a request whose
   * answer was lost can be sent again.
   */
  dispatch(request: TaskRequest, idempotencyKey: string): Promise<Task> {
    return this.post("/api/node/dispatch-task", request, { "idempotency-key": idempotencyKey });
  }

  task(id: string): Promise<Task> {
    return this.get(`/api/tasks/${id}`);
  }

  /** The result's bytes, once the task is verified. */
  async result(id: string): Promise<Uint8Array> {
    return (await this.request("GET", `/api/tasks/${id}/result`)).bytes();
  }

  async get<T>(path: string): Promise<T> {
    return (await this.request("GET", path)).json() as Promise<T>;
  }

  async post<T>(path: string, body: unknown, headers: Record<string, string> = {}): Promise<T> {
    return (await this.request("POST", path, body, headers)).json() as Promise<T>;
  }

  /** Any request with the session's cookie. Throws a {@link ProblemError} for every status that is no success. */
  async request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const response = await fetch(this.#origin + path, {
      method,
      headers: {
        cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; "),
        // Methods that change something are only taken from the coordinator's own site.
        origin: this.#origin,
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [name, value] = cookie.split(";")[0]!.split("=") as [string, string];
      this.#cookies.set(name, value);
    }
    if (response.ok) return response;
    const problem = (await response.json().catch(() => ({}))) as { code?: string; detail?: string };
    throw new ProblemError(`${method} ${path}`, response, problem);
  }
}
