import { ComputeError } from "../../domain/errors.ts";
import type { Clock } from "../../ports/clock.ts";
import { MAX_CHUNK_BYTES, SLOWEST_UPLOAD, WAITING_SHARE } from "./limits.ts";

/** The budget as its uploads see it. */
interface Memory {
  /** Takes memory for a waiting chunk; false when it is used up. */
  readonly hold: (bytes: number) => boolean;
  /** Gives back memory of waiting chunks. */
  readonly unhold: (bytes: number) => void;
  /** Gives back the upload's reservation, or removes it from the queue. */
  readonly release: (upload: Upload) => void;
}

/**
 * Bounds the memory of outputs that are being uploaded. Each upload reserves the largest size that it may have. While that much
 * is not free, uploads wait in the order of their arrival, and their chunks wait in a smaller, separate share of memory.
 */
export class UploadBudget {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #maxBytes: number;
  readonly #waiting = new Set<Upload>();
  readonly #memory: Memory;
  #free: number;
  #freeForChunks: number;

  constructor({ clock }: { readonly clock: Pick<Clock, "monotonic"> }, { maxBytes }: { readonly maxBytes: number }) {
    this.#clock = clock;
    this.#maxBytes = maxBytes;
    this.#free = maxBytes;
    this.#freeForChunks = maxBytes * WAITING_SHARE;
    this.#memory = {
      hold: (bytes) => {
        if (bytes > this.#freeForChunks) return false;
        this.#freeForChunks -= bytes;
        return true;
      },
      unhold: (bytes) => {
        this.#freeForChunks += bytes;
      },
      release: (upload) => {
        if (!this.#waiting.delete(upload)) this.#free += this.#need(upload);
        this.#serve();
      },
    };
  }

  /** Begins an output of at most `size` bytes. Chunks can be added at once, even while the upload waits for memory. */
  open(size: number): Upload {
    const upload = new Upload(size, this.#memory);
    this.#waiting.add(upload);
    this.#serve();
    return upload;
  }

  /** The reservation of an upload: at most the whole budget. */
  #need({ size }: Upload): number {
    return Math.min(size, this.#maxBytes);
  }

  #serve(): void {
    for (const upload of this.#waiting) {
      const need = this.#need(upload);
      if (need > this.#free) return;
      this.#waiting.delete(upload);
      this.#free -= need;
      upload.grant(this.#clock.monotonic());
    }
  }
}

/** One output that arrives in chunks. */
export class Upload {
  /** Maximum bytes of the output. */
  readonly size: number;
  readonly #memory: Memory;
  readonly #granted = Promise.withResolvers<void>();
  /** Chunks that wait for memory. */
  #queue: { readonly at: number; readonly data: Uint8Array }[] = [];
  #buffer: Uint8Array | undefined;
  /** Monotonic time at which it got its memory. */
  #openedAt: number | undefined;
  #received = 0;
  #isReleased = false;

  constructor(size: number, memory: Memory) {
    this.size = size;
    this.#memory = memory;
  }

  /** Resolves once {@link bytes} has every chunk that arrived, or the upload was released. */
  get stored(): Promise<void> {
    return this.#granted.promise;
  }

  /** The bytes that have arrived; empty while it waits for memory. */
  get bytes(): Uint8Array {
    return this.#buffer?.subarray(0, this.#received) ?? new Uint8Array();
  }

  /** Milliseconds since it got its memory; 0 while it waits. */
  openFor(now: number): number {
    return this.#openedAt === undefined ? 0 : now - this.#openedAt;
  }

  /** Whether its average rate is below {@link SLOWEST_UPLOAD}. */
  isSlow(now: number): boolean {
    const ms = this.openFor(now);
    return ms > SLOWEST_UPLOAD.afterMs && this.#received < (ms / 1_000) * SLOWEST_UPLOAD.bytesPerSecond;
  }

  /**
   * Adds a chunk; offset 0 starts over. Returns a promise when there is no memory for a waiting chunk either: no chunk may be
   * added before it resolves. Throws PROTOCOL_VIOLATION for gaps and for more bytes than `size`.
   */
  add(offset: bigint, data: Uint8Array): Promise<void> | undefined {
    if (data.length === 0 || data.length > MAX_CHUNK_BYTES) {
      throw new ComputeError("PROTOCOL_VIOLATION", `a chunk has 1 to ${MAX_CHUNK_BYTES} bytes`);
    }
    if (offset === 0n) this.#restart();
    if (offset !== BigInt(this.#received)) {
      throw new ComputeError("PROTOCOL_VIOLATION", "chunks go in order, without gaps");
    }
    if (this.#received + data.length > this.size) {
      throw new ComputeError("PROTOCOL_VIOLATION", `the output of this assignment has at most ${this.size} bytes`);
    }
    const at = this.#received;
    this.#received += data.length;
    if (this.#buffer) this.#buffer.set(data, at);
    else if (this.#memory.hold(data.length)) this.#queue.push({ at, data });
    else return this.stored.then(() => this.#buffer?.set(data, at));
    return undefined;
  }

  /** Gives it its memory. For its budget only. */
  grant(now: number): void {
    // Shared, so that a check in another thread needs no copy; no chunk is added once the check has begun.
    const buffer = new Uint8Array(new SharedArrayBuffer(this.size));
    for (const { at, data } of this.#queue) buffer.set(data, at);
    this.#dropQueue();
    this.#buffer = buffer;
    this.#openedAt = now;
    this.#granted.resolve();
  }

  /** Gives its reservation back to the budget. Safe to repeat. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#dropQueue();
    this.#memory.release(this);
    this.#granted.resolve();
  }

  #restart(): void {
    this.#received = 0;
    this.#dropQueue();
  }

  #dropQueue(): void {
    for (const { data } of this.#queue.splice(0)) this.#memory.unhold(data.length);
  }
}
