import { finished } from "node:stream";
import { normalizeIP } from "@fastify/rate-limit";
import type { FastifyReply } from "fastify";
import { ComputeError } from "../../../domain/errors.ts";

/** About the duration of a download whose client reads, in seconds. */
const RETRY_SECONDS = 5;

/** The share of a {@link DownloadBudget} that one answer holds. */
export interface DownloadShare {
  /** Reduces the share to `share`, once the answer's size is known. */
  shrink(share: number): void;
}

/** Bounds what answers hold until their clients have read them, in total and for one address. */
export class DownloadBudget {
  readonly #init: { readonly total: number; readonly perAddress: number };
  readonly #ofAddress = new Map<string, number>();
  #taken = 0;

  constructor(init: { readonly total: number; readonly perAddress: number }) {
    this.#init = init;
  }

  /** Reserves a share until the answer is sent or its client has left. Throws RATE_LIMITED when the budget is used up. */
  open(reply: FastifyReply, share: number): DownloadShare {
    const { total, perAddress } = this.#init;
    const address = normalizeIP(reply.request.ip);
    if (this.#taken + share > total || (this.#ofAddress.get(address) ?? 0) + share > perAddress) {
      reply.header("retry-after", RETRY_SECONDS);
      throw new ComputeError("RATE_LIMITED", "too many downloads are open; wait until some end");
    }
    let held = 0;
    const hold = (next: number) => {
      this.#add(address, next - held);
      held = next;
    };
    hold(share);
    let open = true;
    finished(reply.raw, () => {
      open = false;
      hold(0);
    });
    return {
      shrink: (next) => {
        if (open && next < held) hold(next);
      },
    };
  }

  #add(address: string, change: number): void {
    this.#taken += change;
    const ofAddress = (this.#ofAddress.get(address) ?? 0) + change;
    if (ofAddress > 0) this.#ofAddress.set(address, ofAddress);
    else this.#ofAddress.delete(address);
  }
}
