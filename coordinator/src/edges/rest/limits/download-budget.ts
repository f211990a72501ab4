import { finished } from "node:stream";
import { normalizeIP } from "@fastify/rate-limit";
import type { FastifyReply } from "fastify";
import { ComputeError } from "../../../domain/errors.ts";

/** A download lasts about so long where the reader reads. */
const RETRY_SECONDS = 5;

/** What answers may hold together until their readers have read them, altogether and for one address. */
export class DownloadBudget {
  readonly #init: { readonly total: number; readonly perAddress: number };
  readonly #ofAddress = new Map<string, number>();
  #taken = 0;

  constructor(init: { readonly total: number; readonly perAddress: number }) {
    this.#init = init;
  }

  /** Reserves a share until the answer is sent or its reader has left. Throws RATE_LIMITED when there is no room. */
  open(reply: FastifyReply, share: number): void {
    const { total, perAddress } = this.#init;
    const address = normalizeIP(reply.request.ip);
    const before = this.#ofAddress.get(address) ?? 0;
    if (this.#taken + share > total || before + share > perAddress) {
      reply.header("retry-after", RETRY_SECONDS);
      throw new ComputeError("RATE_LIMITED", "too many downloads are open; let some end");
    }
    this.#taken += share;
    this.#ofAddress.set(address, before + share);
    finished(reply.raw, () => {
      this.#taken -= share;
      const left = this.#ofAddress.get(address)! - share;
      if (left > 0) this.#ofAddress.set(address, left);
      else this.#ofAddress.delete(address);
    });
  }
}
