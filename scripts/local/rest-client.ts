import type { ConfigView, Problem } from "@proof-of-compute/coordinator/rest";
import type { Wallet } from "ethers";
import { SiweMessage } from "siwe";
import { LocalError } from "./terminal.ts";

/** How long a signed message is valid, in milliseconds. */
const SIGN_IN_MS = 300_000;

/** A coordinator's facade refused a request. */
export class Refused extends LocalError {
  /** Status of the response, and the code of its problem document (RFC 9457); "" without one. */
  readonly status: number;
  readonly code: string;

  constructor(request: string, status: number, { code = "", detail = "" }: Partial<Problem>) {
    super(`${request} was answered with ${status} ${code}: ${detail}`);
    this.status = status;
    this.code = code;
  }
}

export interface RestRequest {
  readonly signal: AbortSignal;
  /** JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A client that keeps cookies as a browser does, and sends them to every coordinator. */
export class RestClient {
  readonly #cookies = new Map<string, string>();

  /** `origin` is a coordinator's address, for example `http://127.0.0.1:3000`. Rejects with {@link Refused}. */
  async fetch(origin: string, method: string, path: string, request: RestRequest): Promise<Response> {
    const { signal, body, headers } = request;
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(origin + path, {
      method,
      signal,
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
    const problem = (await response.json().catch(() => ({}))) as Partial<Problem>;
    throw new Refused(`${method} ${path}`, response.status, problem);
  }

  async json<T>(origin: string, method: string, path: string, request: RestRequest): Promise<T> {
    return (await (await this.fetch(origin, method, path, request)).json()) as T;
  }

  /** Sign-In with Ethereum (EIP-4361): opens a session for the wallet. */
  async signIn(origin: string, wallet: Wallet, signal: AbortSignal): Promise<void> {
    const { signIn } = await this.json<ConfigView>(origin, "GET", "/api/config", { signal });
    const { nonce } = await this.json<{ nonce: string }>(origin, "GET", "/api/auth/nonce", { signal });
    const now = Date.now();
    const message = new SiweMessage({
      domain: new URL(origin).host,
      address: wallet.address,
      statement: "Sign in to Proof of Compute.",
      uri: origin,
      version: "1",
      chainId: signIn.chainId,
      nonce,
      issuedAt: new Date(now).toISOString(),
      expirationTime: new Date(now + SIGN_IN_MS).toISOString(),
    }).prepareMessage();
    const signature = await wallet.signMessage(message);
    await this.fetch(origin, "POST", "/api/auth/sign-in", { signal, body: { message, signature } });
  }
}
