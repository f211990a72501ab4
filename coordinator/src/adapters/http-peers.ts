import type { Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import type { z } from "zod";
import { MAX_TASKS, PEER_PATHS, ProgressAnswer, peerToken } from "../net/peer-messages.ts";
import type { Nudge, PeerLink } from "../ports/peers.ts";

/** A peer in the same network answers within milliseconds; one that does not is as good as gone. */
const TIMEOUT_MS = 1_000;

/** What is to be said to one peer once the request under way has ended. */
interface Pending {
  queue: boolean;
  readonly tasks: Set<Hex>;
}

/**
 * Words between coordinators over HTTP. To one address at most one nudge is under way; what is said meanwhile goes out
 * together after it. Connections are kept alive by fetch.
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

  /** Gives up what is under way; afterwards nothing is sent. Safe to repeat. */
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

  /** The answer; undefined when none is expected, or none came that can be read. */
  async #post<T>(address: string, path: string, body: object, schema?: z.ZodType<T>): Promise<T | undefined> {
    try {
      const response = await fetch(new URL(path, address), {
        method: "POST",
        headers: { authorization: this.#authorization, "content-type": "application/json" },
        body: JSON.stringify(body),
        // A redirection would carry the secret elsewhere.
        redirect: "error",
        signal: AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
      // Read to its end in any case, else the connection is not used again.
      const text = await response.text();
      if (!response.ok) throw new Error(`the peer answered with status ${response.status}`);
      return schema?.parse(JSON.parse(text));
    } catch (error) {
      this.#logger.debug({ err: error, peer: address, path }, "a peer was not reached");
      return undefined;
    }
  }
}
