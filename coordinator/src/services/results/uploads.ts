import { ComputeError } from "../../domain/errors.ts";
import type { Clock } from "../../ports/clock.ts";
import { MAX_CHUNK_BYTES, SLOWEST_UPLOAD } from "./limits.ts";

interface Place {
  readonly size: number;
  readonly take: () => void;
}

/** Memory that outputs in upload may take together; while it is used up, streams wait, and who came first is served first. */
export class UploadBudget {
  readonly #clock: Clock;
  #free: number;
  readonly #waiting = new Set<Place>();

  constructor({ clock }: { readonly clock: Clock }, init: { readonly maxBytes: number }) {
    this.#clock = clock;
    this.#free = init.maxBytes;
  }

  /** Reserves an output's whole size; undefined when `signal` said that the stream is gone before there was room. */
  open(size: number, signal: AbortSignal): Promise<Upload | undefined> {
    if (signal.aborted) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const leave = () => {
        this.#waiting.delete(place);
        resolve(undefined);
        this.#serve();
      };
      const take = () => {
        signal.removeEventListener("abort", leave);
        const giveBack = () => {
          this.#free += size;
          this.#serve();
        };
        resolve(new Upload(size, this.#clock.monotonic(), giveBack));
      };
      const place = { size, take };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.add(place);
      this.#serve();
    });
  }

  #serve(): void {
    for (const place of this.#waiting) {
      if (place.size > this.#free) return;
      this.#waiting.delete(place);
      this.#free -= place.size;
      place.take();
    }
  }
}

/** One output that arrives in chunks, never larger than its task says. */
export class Upload {
  readonly #buffer: Uint8Array;
  /** Monotonic. */
  readonly #openedAt: number;
  readonly #giveBack: () => void;
  #received = 0;
  #released = false;

  constructor(size: number, openedAt: number, giveBack: () => void) {
    // Shared, so that the verifier's thread reads it where it lies; nothing is added once a result is being checked.
    this.#buffer = new Uint8Array(new SharedArrayBuffer(size));
    this.#openedAt = openedAt;
    this.#giveBack = giveBack;
  }

  /** What it reserves, in bytes. */
  get size(): number {
    return this.#buffer.length;
  }

  /** What has arrived. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#received);
  }

  /** Whether it holds its memory for longer than what has arrived accounts for. */
  isSlow(now: number): boolean {
    const ms = now - this.#openedAt;
    return ms > SLOWEST_UPLOAD.afterMs && this.#received < (ms / 1_000) * SLOWEST_UPLOAD.bytesPerSecond;
  }

  /** Adds a chunk; offset 0 starts again. Throws PROTOCOL_VIOLATION for gaps and for too much. */
  add(offset: bigint, data: Uint8Array): void {
    if (offset === 0n) this.#received = 0;
    if (data.length === 0 || data.length > MAX_CHUNK_BYTES) {
      throw new ComputeError("PROTOCOL_VIOLATION", `a chunk has 1 to ${MAX_CHUNK_BYTES} bytes`);
    }
    if (offset !== BigInt(this.#received))
      throw new ComputeError("PROTOCOL_VIOLATION", "chunks go in order, without gaps");
    if (this.#received + data.length > this.#buffer.length) {
      throw new ComputeError("PROTOCOL_VIOLATION", `the output of this assignment has ${this.#buffer.length} bytes`);
    }
    this.#buffer.set(data, this.#received);
    this.#received += data.length;
  }

  /** Gives the memory's share of the budget back; safe to repeat. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#giveBack();
  }
}
