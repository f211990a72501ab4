import type { TaskView } from "@proof-of-compute/coordinator/edges/rest/tasks/schemas";
import type { Hex } from "@proof-of-compute/proto";
import type { Wallet } from "ethers";
import { Refused, RestClient, type RestRequest } from "../../../scripts/local/rest-client.ts";
import type { Asked } from "./history.ts";

const TIMEOUT_MS = 4_000;
/** For the three requests of a sign-in together. */
const SIGN_IN_TIMEOUT_MS = 12_000;

/** A requester's program that uses any of several coordinators, and signs in when a coordinator demands it. */
export class Client {
  readonly #wallet: Wallet;
  readonly #rest = new RestClient();

  constructor(wallet: Wallet) {
    this.#wallet = wallet;
  }

  dispatch(origin: string, asked: Asked, key: string): Promise<TaskView> {
    const { deadlineSeconds, ...matmul } = asked;
    const body = { kind: "matmul", matmul, deadlineSeconds };
    return this.#task(origin, "POST", "/api/node/dispatch-task", { body, headers: { "idempotency-key": key } });
  }

  cancel(origin: string, taskId: Hex): Promise<TaskView> {
    return this.#task(origin, "POST", `/api/tasks/${taskId}/cancel`);
  }

  task(origin: string, taskId: Hex): Promise<TaskView> {
    return this.#task(origin, "GET", `/api/tasks/${taskId}`);
  }

  async output(origin: string, taskId: Hex): Promise<Uint8Array> {
    const response = await this.#signedIn(origin, "GET", `/api/tasks/${taskId}/result`);
    return new Uint8Array(await response.arrayBuffer());
  }

  async #task(origin: string, method: string, path: string, request?: Omit<RestRequest, "signal">): Promise<TaskView> {
    return (await (await this.#signedIn(origin, method, path, request)).json()) as TaskView;
  }

  async #signedIn(
    origin: string,
    method: string,
    path: string,
    request: Omit<RestRequest, "signal"> = {},
  ): Promise<Response> {
    const attempt = () =>
      this.#rest.fetch(origin, method, path, { ...request, signal: AbortSignal.timeout(TIMEOUT_MS) });
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Refused && error.code === "UNAUTHENTICATED")) throw error;
      await this.#rest.signIn(origin, this.#wallet, AbortSignal.timeout(SIGN_IN_TIMEOUT_MS));
      return attempt();
    }
  }
}

/** Whether a refused request certainly had no effect. */
export function isCertain({ status, code }: Refused): boolean {
  return status < 500 || code === "QUEUE_FULL" || code === "DRAINING";
}
