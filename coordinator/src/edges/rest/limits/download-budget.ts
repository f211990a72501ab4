import { finished } from "node:stream";
import { normalizeIP } from "@fastify/rate-limit";
import type { FastifyReply } from "fastify";
import { ComputeError } from "../../../domain/errors.ts";

/** A download takes about so long where the reader reads. */
const RETRY_SECONDS = 5;

/** What one answer holds of a {@link DownloadBudget}. */
export interface DownloadShare {
  /** Gives back what is more than `share`, once the answer's size is known. */
  shrink(share: number): void;
}

/** What answers may hold together until their readers have read them, altogether and for one address. */
export class DownloadBudget {
  readonly #init: { readonly total: number; readonly perAddress: number };
  readonly #ofAddress = new Map<string, number>();
  #taken = 0;

  constructor(init: { readonly total: number; readonly perAddress: number }) {
    this.#init = init;
  }

  /** Reserves a share until the answer is sent or its reader has left. Throws RATE_LIMITED when there is no room. */
  open(reply: FastifyReply, share: number): DownloadShare {
    const { total, perAddress } = this.#init;
    const address = normalizeIP(reply.request.ip);
    if (this.#taken + share > total || (this.#ofAddress.get(address) ?? 0) + share > perAddress) {
      reply.header("retry-after", RETRY_SECONDS);
      throw new ComputeError("RATE_LIMITED", "too many downloads are open; let some end");
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
