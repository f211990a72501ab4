import { createHash, type Hash } from "node:crypto";
import type { Output } from "../kinds/kind.ts";
import { sha256 } from "../sha256.ts";

/** Joins an output from what its executor emitted and what it ended with, up to a bound. */
export class OutputBuffer {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #hash: Hash | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Adds a copy of a chunk. Throws a RangeError when the output outgrows its bound. */
  append(chunk: Uint8Array): void {
    this.#count(chunk);
    this.#chunks.push(chunk.slice());
    this.#hash ??= createHash("sha256");
    this.#hash.update(chunk);
  }

  /** The whole output with its digest. Rejects with a RangeError when it outgrows its bound. */
  async end({ output, outputDigest }: Output): Promise<Required<Output>> {
    this.#count(output);
    if (this.#hash === undefined) return { output, outputDigest: outputDigest ?? (await sha256(output)) };
    const whole = Buffer.concat([...this.#chunks, output], this.#bytes);
    this.#chunks = [];
    return { output: whole, outputDigest: outputDigest ?? this.#hash.update(output).digest() };
  }

  #count({ length }: Uint8Array): void {
    if (this.#bytes + length > this.#maxBytes) {
      throw new RangeError(`the output outgrows the ${this.#maxBytes} bytes that its task allows`);
    }
    this.#bytes += length;
  }
}
