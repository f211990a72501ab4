import { ComputeError } from "../domain/errors.ts";

const MAX_CHUNK_BYTES = 65_536;

/** Memory that outputs in upload may take together; while it is used up, streams wait. */
export class UploadBudget {
  #free: number;
  #waiting: (() => void)[] = [];

  constructor(init: { readonly maxBytes: number }) {
    this.#free = init.maxBytes;
  }

  /** Reserves an output's whole size; undefined when `signal` said that the stream is gone before there was room. */
  async open(size: number, signal: AbortSignal): Promise<Upload | undefined> {
    while (this.#free < size && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    if (signal.aborted) return undefined;
    this.#free -= size;
    return new Upload(size, () => {
      this.#free += size;
      for (const go of this.#waiting.splice(0)) go();
    });
  }
}

/** One output that arrives in chunks, never larger than its task says. */
export class Upload {
  readonly #buffer: Uint8Array;
  readonly #giveBack: () => void;
  #received = 0;
  #released = false;

  constructor(size: number, giveBack: () => void) {
    // Shared, so that the verifier's thread reads it where it lies; nothing is added once a result is being checked.
    this.#buffer = new Uint8Array(new SharedArrayBuffer(size));
    this.#giveBack = giveBack;
  }

  /** What has arrived. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#received);
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
