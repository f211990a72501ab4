import { merkleRoot, resultMessage, resultsMessage, toHex } from "@proof-of-compute/proto";
import type { Result } from "@proof-of-compute/proto/node";
import type { Identity } from "../identity.ts";
import type { OpenSession } from "../session/open-session.ts";
import type { Outbox } from "./outbox.ts";
import type { ResultHead } from "./records.ts";

/** Most results that one signature may cover (node.proto). */
const FRAME_RESULTS = 256;
/** Most output bytes inline in a frame, well below the 4 MiB of a message. */
const FRAME_BYTES = 1024 * 1024;
/** Most bytes of a chunk (node.proto). */
const CHUNK_BYTES = 64 * 1024;

const NOTHING = new Uint8Array();

/** The part of a session that sends frames. */
type FrameSession = Omit<OpenSession, "fetchBlob">;

/**
 * Sends results over one session: large outputs ahead in chunks, and the results of one event-loop turn in one frame with
 * one signature. It never sends more than the stream takes.
 */
export class ResultSender {
  readonly #identity: Pick<Identity, "sign">;
  readonly #outbox: Pick<Outbox, "has" | "output">;
  readonly #session: FrameSession;
  readonly #wallet: Uint8Array;
  readonly #inlineBytes: number;
  readonly #retryMs: number;
  readonly #onError: (error: unknown) => void;
  /** Results for the next frames. Until their turn, outputs stay in the outbox, which bounds its memory. */
  #ready: ResultHead[] = [];
  readonly #uploads: ResultHead[] = [];
  /** Results that the outbox could not read. */
  #unread: ResultHead[] = [];
  #retry: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #uploading = false;

  /**
   * `wallet` is 20 bytes. `retryMs` (default 5,000) lies between attempts to read what the outbox cannot read. `onError`
   * gets unexpected errors, after which results stay in the outbox.
   */
  constructor(
    components: {
      readonly identity: Pick<Identity, "sign">;
      readonly outbox: Pick<Outbox, "has" | "output">;
      readonly session: FrameSession;
    },
    init: { readonly wallet: Uint8Array; readonly retryMs?: number; readonly onError: (error: unknown) => void },
  ) {
    this.#identity = components.identity;
    this.#outbox = components.outbox;
    this.#session = components.session;
    this.#wallet = init.wallet;
    this.#inlineBytes = Math.min(this.#session.welcome.inlineOutputBytes, FRAME_BYTES);
    this.#retryMs = init.retryMs ?? 5_000;
    this.#onError = init.onError;
  }

  /** Sends a result of the outbox, unless it leaves the outbox first. */
  send(result: ResultHead): void {
    if (result.outputBytes <= this.#inlineBytes) {
      this.#ready.push(result);
      void this.#flushSoon();
    } else {
      this.#uploads.push(result);
      void this.#upload();
    }
  }

  /** Begins after this turn, so that its results share a frame. */
  #flushSoon(): Promise<void> {
    this.#flushing ??= new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.#flush())
      .catch(this.#onError)
      .finally(() => {
        this.#flushing = undefined;
        if (this.#ready.length > 0 && this.#session.open) void this.#flushSoon();
      });
    return this.#flushing;
  }

  async #flush(): Promise<void> {
    while (this.#ready.length > 0 && this.#session.open) {
      const results = await this.#nextFrame();
      if (results.length === 0) continue;
      const leaves = results.map((result) => resultMessage({ ...result, wallet: this.#wallet }));
      const signature = await this.#identity.sign(resultsMessage(merkleRoot(leaves)));
      if (!this.#session.send({ $case: "results", value: { results, signature } })) await this.#session.writable();
    }
  }

  async #nextFrame(): Promise<Result[]> {
    const results: Result[] = [];
    let bytes = 0;
    let taken = 0;
    for (const result of this.#ready) {
      const inline = result.outputBytes <= this.#inlineBytes;
      if (results.length === FRAME_RESULTS || (inline && bytes > 0 && bytes + result.outputBytes > FRAME_BYTES)) break;
      taken++;
      if (!this.#outbox.has(toHex(result.assignmentId))) continue;
      const output = inline ? await this.#output(result) : NOTHING;
      if (output === null) continue;
      bytes += output.length;
      const { assignmentId, taskId, specDigest, outputDigest } = result;
      results.push({ assignmentId, taskId, specDigest, outputDigest, output });
    }
    this.#ready = this.#ready.slice(taken);
    return results;
  }

  async #upload(): Promise<void> {
    if (this.#uploading) return;
    this.#uploading = true;
    try {
      for (let result = this.#uploads.shift(); result && this.#session.open; result = this.#uploads.shift()) {
        if (!(await this.#sendChunks(result))) continue;
        this.#ready.push(result);
        // The coordinator holds the output in memory until its Results, which further chunks might delay for lack of that memory.
        do await this.#flushSoon();
        while (this.#ready.includes(result) && this.#session.open);
      }
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#uploading = false;
    }
  }

  /** False when the output cannot be read, or when the result left the outbox before its last chunk was sent. */
  async #sendChunks(result: ResultHead): Promise<boolean> {
    const { assignmentId } = result;
    const id = toHex(assignmentId);
    const output = await this.#output(result);
    if (output === null) return false;
    for (let offset = 0; offset < output.length; offset += CHUNK_BYTES) {
      if (!this.#outbox.has(id) || !this.#session.open) return false;
      const data = output.subarray(offset, offset + CHUNK_BYTES);
      const more = this.#session.send({ $case: "outputChunk", value: { assignmentId, offset: BigInt(offset), data } });
      if (!more) await this.#session.writable();
    }
    return this.#outbox.has(id);
  }

  /** Null when the result left the outbox, or when its output cannot be read now; it is then sent later. */
  async #output(result: ResultHead): Promise<Uint8Array | null> {
    try {
      return await this.#outbox.output(toHex(result.assignmentId));
    } catch {
      this.#unread.push(result);
      this.#retry ??= setTimeout(() => this.#sendUnread(), this.#retryMs).unref();
      return null;
    }
  }

  #sendUnread(): void {
    this.#retry = undefined;
    const unread = this.#unread;
    this.#unread = [];
    if (this.#session.open) for (const result of unread) this.send(result);
  }
}
