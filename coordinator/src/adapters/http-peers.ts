import type { Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import type { z } from "zod";
import { MAX_TASKS, PEER_PATHS, ProgressAnswer, peerToken } from "../net/peer-messages.ts";
import type { Nudge, PeerLink } from "../ports/peers.ts";

/** A peer in the same network answers within milliseconds; one that takes longer counts as lost. */
const TIMEOUT_MS = 1_000;

/** The next nudge for a peer, sent when the present request has ended. */
interface Pending {
  queue: boolean;
  readonly tasks: Set<Hex>;
}

/**
 * Requests to other coordinators over HTTP. Each address has at most one nudge under way; nudges that come meanwhile are
 * sent together after it. fetch keeps connections alive.
 */
export class HttpPeers implements PeerLink {
  readonly #logger: Logger;
  readonly #authorization: string;
  readonly #nudging = new Map<string, Pending>();
  readonly #stopped = new AbortController();

  /** `secret`: the 32 bytes that all coordinators of the network share. */
  constructor({ logger }: { readonly logger: Logger }, { secret }: { readonly secret: Uint8Array }) {
    this.#logger = logger;
    this.#authorization = `Bearer ${peerToken(secret)}`;
  }

  nudge(address: string, nudge: Nudge): void {
    const underWay = this.#nudging.get(address);
    const pending = underWay ?? { queue: false, tasks: new Set() };
    pending.queue ||= nudge.queue === true;
    for (const id of nudge.tasks ?? []) {
      if (pending.tasks.size < MAX_TASKS) pending.tasks.add(id);
    }
    if (underWay) return;
    this.#nudging.set(address, pending);
    void this.#sendNudges(address, pending);
  }

  async progress(address: string, taskIds: readonly Hex[]): Promise<ReadonlyMap<Hex, number>> {
    const known = new Map<Hex, number>();
    for (let start = 0; start < taskIds.length; start += MAX_TASKS) {
      const asked = taskIds.slice(start, start + MAX_TASKS);
      const answer = await this.#post(address, PEER_PATHS.progress, { taskIds: asked }, ProgressAnswer);
      if (!answer) break;
      for (const id of asked) {
        const progress = answer.progress[id];
        if (progress !== undefined) known.set(id, progress);
      }
    }
    return known;
  }

  /** Aborts requests and sends nothing afterwards. Safe to repeat. */
  stop(): void {
    this.#stopped.abort();
  }

  async #sendNudges(address: string, pending: Pending): Promise<void> {
    while ((pending.queue || pending.tasks.size > 0) && !this.#stopped.signal.aborted) {
      const nudge: Nudge = {
        ...(pending.queue && { queue: true }),
        ...(pending.tasks.size > 0 && { tasks: [...pending.tasks] }),
      };
      pending.queue = false;
      pending.tasks.clear();
      await this.#post(address, PEER_PATHS.nudge, nudge);
    }
    this.#nudging.delete(address);
  }

  /** The answer; undefined without a `schema`, or without a readable answer. */
  async #post<T>(address: string, path: string, body: object, schema?: z.ZodType<T>): Promise<T | undefined> {
    try {
      const response = await fetch(new URL(path, address), {
        method: "POST",
        headers: { authorization: this.#authorization, "content-type": "application/json" },
        body: JSON.stringify(body),
        // A redirection would send the secret to another host.
        redirect: "error",
        signal: AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
      // Read the body to its end in any case, or the connection is not reused.
      const text = await response.text();
      if (!response.ok) throw new Error(`the peer answered with status ${response.status}`);
      return schema?.parse(JSON.parse(text));
    } catch (error) {
      this.#logger.debug({ err: error, peer: address, path }, "a peer was not reached");
      return undefined;
    }
  }
}
