import { setTimeout as delay } from "node:timers/promises";
import { type ServiceError, status } from "@grpc/grpc-js";
import { equal, fromHex, type Hex, toHex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { abortable } from "../abortable.ts";
import { printable } from "../printable.ts";
import { isKnownAt, networkIdOf } from "../session/network-id.ts";
import type { OpenSession } from "../session/open-session.ts";
import { sha256 } from "../sha256.ts";
import type { BlobCache } from "./blob-cache.ts";
import { BlobError } from "./blob-error.ts";
import { Download } from "./download.ts";

/** Most bytes of one blob; memory holds all of it while it is fetched. */
const MAX_BYTES = 64 * 1024 * 1024;
/** Fetches of a session at once (docs/reference/protocol.md). */
const MAX_FETCHES = 2;
/** A coordinator that sends nothing for this long is asked again. */
const STALL_MS = 60_000;
/** Waits after a failed fetch: the first, doubled with each further one, and the longest. */
const RETRY_MS = { first: 1_000, longest: 30_000 } as const;
/** Wrong answers after which a coordinator is not asked again. */
const MAX_DAMAGED = 3;
/** Answers that a further attempt would get too. */
const FINAL: readonly status[] = [status.INVALID_ARGUMENT, status.PERMISSION_DENIED, status.UNIMPLEMENTED];

/** The part of a session that fetches use. */
export type BlobSession = Pick<OpenSession, "welcome" | "open" | "fetchBlob">;

/** What a blob is fetched for. */
export interface BlobRequest {
  /** Network of the coordinator that assigned the task: coordinators of others do not know its blobs. */
  readonly networkId: Uint8Array;
  readonly signal: AbortSignal;
}

/**
 * Blobs (content that tasks name by its SHA-256) from the cache or from the coordinator that the node has a session with. A
 * fetch that fails is repeated, with the next coordinator if the session is lost.
 */
export class Blobs {
  readonly #logger: Logger;
  readonly #cache: Pick<BlobCache, "read" | "add">;
  readonly #maxBytes: number;
  readonly #retryMs: number;
  readonly #downloads = new Map<string, Download>();
  #session: BlobSession | undefined;
  #fetches = 0;
  /** Resolves when a session opens or ends, or a fetch ends. */
  #change = Promise.withResolvers<void>();

  /** `maxBytes` bounds one blob (default: 64 MiB); `retryMs` is the first wait after a failed fetch (default: 1,000). */
  constructor(
    components: { readonly logger: Logger; readonly cache: Pick<BlobCache, "read" | "add"> },
    init: { readonly maxBytes?: number; readonly retryMs?: number } = {},
  ) {
    this.#logger = components.logger;
    this.#cache = components.cache;
    this.#maxBytes = init.maxBytes ?? MAX_BYTES;
    this.#retryMs = init.retryMs ?? RETRY_MS.first;
  }

  /** Fetches from this session from now on. */
  opened(session: BlobSession): void {
    this.#session = session;
    this.#changed();
  }

  /** The session ended: requests wait for the next one. */
  closed(): void {
    this.#session = undefined;
    this.#changed();
  }

  /**
   * The blob with this digest. Requests for the same one share a download. Rejects with a {@link BlobError}, or with the
   * signal's reason.
   */
  async get(digest: Uint8Array, { networkId, signal }: BlobRequest): Promise<Uint8Array> {
    signal.throwIfAborted();
    const key = `${toHex(digest)} ${toHex(networkId)}`;
    let download = this.#downloads.get(key);
    if (!download || download.stopped) {
      const started = new Download((stop) => this.#download(toHex(digest), networkId, stop));
      const end = () => {
        if (this.#downloads.get(key) === started) this.#downloads.delete(key);
      };
      started.content.then(end, end);
      this.#downloads.set(key, started);
      download = started;
    }
    return download.join(signal);
  }

  async #download(digest: Hex, networkId: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const cached = await this.#cache.read(digest);
    if (cached) return cached;
    let damaged = 0;
    for (let failures = 0; ; failures++) {
      const session = await this.#sessionOf(networkId, signal);
      try {
        const blob = await this.#fetch(session, digest, signal);
        if (equal(await sha256(blob), fromHex(digest))) {
          await this.#cache.add(digest, blob);
          return blob;
        }
        if (++damaged === MAX_DAMAGED) throw new BlobError("DAMAGED", `the coordinator has other content as ${digest}`);
        this.#logger.warn({ sha256: digest }, "a blob arrived damaged, fetching it again");
      } catch (error) {
        signal.throwIfAborted();
        const final = finalError(error, digest);
        if (final) throw final;
        const why = printable((error as Error).message);
        if (failures === 0) this.#logger.warn({ sha256: digest, why }, "cannot fetch a blob, trying again");
      }
      // The next session needs no wait.
      if (!session.open) continue;
      const longest = Math.min(RETRY_MS.longest, this.#retryMs * 2 ** Math.min(failures, 20));
      await delay(longest * (0.5 + Math.random() / 2), undefined, { signal, ref: false });
    }
  }

  /** One answer of one coordinator; its digest is not checked yet. */
  async #fetch(session: BlobSession, digest: Hex, signal: AbortSignal): Promise<Uint8Array> {
    while (this.#fetches >= MAX_FETCHES) await abortable(this.#change.promise, signal);
    this.#fetches++;
    const stalled = new AbortController();
    const stall = () => stalled.abort(new Error(`the coordinator sent nothing for ${STALL_MS / 1_000} s`));
    const timer = setTimeout(stall, STALL_MS).unref();
    try {
      const pieces: Uint8Array[] = [];
      let bytes = 0;
      for await (const piece of session.fetchBlob(fromHex(digest), AbortSignal.any([signal, stalled.signal]))) {
        timer.refresh();
        bytes += piece.length;
        if (bytes > this.#maxBytes) {
          throw new BlobError("TOO_LARGE", `the blob ${digest} has more than ${this.#maxBytes} bytes`);
        }
        pieces.push(piece);
      }
      return Buffer.concat(pieces, bytes);
    } catch (error) {
      throw stalled.signal.aborted ? stalled.signal.reason : error;
    } finally {
      clearTimeout(timer);
      this.#fetches--;
      this.#changed();
    }
  }

  /** The session with a coordinator of that network, once there is one. */
  async #sessionOf(networkId: Uint8Array, signal: AbortSignal): Promise<BlobSession> {
    for (;;) {
      const session = this.#session;
      if (session?.open && isKnownAt(networkId, networkIdOf(session.welcome))) return session;
      await abortable(this.#change.promise, signal);
    }
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}

/** The error that ends a download; undefined where a further attempt may succeed. */
function finalError(error: unknown, digest: Hex): BlobError | undefined {
  if (error instanceof BlobError) return error;
  const { code, details } = error as Partial<ServiceError>;
  if (code === status.NOT_FOUND) {
    return new BlobError("NOT_FOUND", `the coordinator has no blob ${digest}`, { cause: error });
  }
  if (code !== undefined && FINAL.includes(code)) {
    return new BlobError("REFUSED", `the coordinator does not give the blob ${digest}: ${printable(details ?? "")}`, {
      cause: error,
    });
  }
  return undefined;
}
