import { ComputeError } from "../../domain/errors.ts";
import type { Clock } from "../../ports/clock.ts";
import { MAX_CHUNK_BYTES, SLOWEST_UPLOAD, WAITING_SHARE } from "./limits.ts";

/** What an upload may do with the memory of its budget. */
interface Memory {
  /** Takes memory for a chunk that waits; false when there is none. */
  readonly hold: (bytes: number) => boolean;
  /** Gives memory of waiting chunks back. */
  readonly unhold: (bytes: number) => void;
  /** Gives the upload's own memory back, or its place in the queue. */
  readonly release: (upload: Upload) => void;
}

/**
 * Memory that outputs in upload may take together. Each reserves the most that it can need; while that is not free it waits,
 * first come, first served, and the chunks that arrive meanwhile wait in a smaller share of memory beside.
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

  /** Begins an output of at most `size` bytes. Its chunks can be added at once, whether its memory is free or not. */
  open(size: number): Upload {
    const upload = new Upload(size, this.#memory);
    this.#waiting.add(upload);
    this.#serve();
    return upload;
  }

  /** An output that may be larger than the whole budget gets all of it. */
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
  /** Most bytes that the output may have. */
  readonly size: number;
  readonly #memory: Memory;
  readonly #granted = Promise.withResolvers<void>();
  /** Chunks that wait for memory, and their offsets. */
  #queue: { readonly at: number; readonly data: Uint8Array }[] = [];
  #buffer: Uint8Array | undefined;
  /** Monotonic: when it got its memory. */
  #openedAt: number | undefined;
  #received = 0;
  #isReleased = false;

  constructor(size: number, memory: Memory) {
    this.size = size;
    this.#memory = memory;
  }

  /** Resolves once everything that arrived lies in {@link bytes}, or the upload was released. */
  get stored(): Promise<void> {
    return this.#granted.promise;
  }

  /** What has arrived; nothing while it waits for memory. */
  get bytes(): Uint8Array {
    return this.#buffer?.subarray(0, this.#received) ?? new Uint8Array();
  }

  /** Milliseconds for which it has had its memory; 0 while it waits. */
  openFor(now: number): number {
    return this.#openedAt === undefined ? 0 : now - this.#openedAt;
  }

  /** Whether it holds its memory for longer than what has arrived accounts for. */
  isSlow(now: number): boolean {
    const ms = this.openFor(now);
    return ms > SLOWEST_UPLOAD.afterMs && this.#received < (ms / 1_000) * SLOWEST_UPLOAD.bytesPerSecond;
  }

  /**
   * Adds a chunk; offset 0 starts again. Returns a promise when not even the chunk finds memory to wait in: the sender may add
   * nothing before it resolves. Throws PROTOCOL_VIOLATION for gaps and for too much.
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

  /** Gives it its memory; called by its budget alone. */
  grant(now: number): void {
    // Shared, so that a check's thread reads it where it lies; nothing is added once a result is being checked.
    const buffer = new Uint8Array(new SharedArrayBuffer(this.size));
    for (const { at, data } of this.#queue) buffer.set(data, at);
    this.#dropQueue();
    this.#buffer = buffer;
    this.#openedAt = now;
    this.#granted.resolve();
  }

  /** Gives its share of the budget back. Safe to repeat. */
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
