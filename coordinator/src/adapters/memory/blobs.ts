import type { Hex } from "@proof-of-compute/proto";
import { ComputeError } from "../../domain/errors.ts";
import type { Blobs, StoredBlob } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import { checkDigest, digestOf } from "../blob-digests.ts";

/** The model of a {@link Blobs} adapter: in memory, with the tests' clock. */
export class MemoryBlobs implements Blobs {
  readonly #clock: Pick<Clock, "now">;
  readonly #blobs = new Map<Hex, { readonly bytes: Uint8Array; readonly putId: string; readonly putAt: number }>();
  #puts = 0;

  constructor({ clock }: { clock: Pick<Clock, "now"> }) {
    this.#clock = clock;
  }

  async put(sha256: Hex, bytes: Uint8Array): Promise<void> {
    if (digestOf(bytes) !== sha256) throw new ComputeError("INVALID_REQUEST", "the bytes do not fit their digest");
    this.#blobs.set(sha256, { bytes: Uint8Array.from(bytes), putId: `${++this.#puts}`, putAt: this.#clock.now() });
  }

  async get(sha256: Hex): Promise<Uint8Array | null> {
    checkDigest(sha256);
    return this.#blobs.get(sha256)?.bytes ?? null;
  }

  async has(sha256: Hex): Promise<boolean> {
    checkDigest(sha256);
    return this.#blobs.has(sha256);
  }

  async find(sha256s: readonly Hex[]): Promise<StoredBlob[]> {
    for (const sha256 of sha256s) checkDigest(sha256);
    return this.#listed().filter(({ sha256 }) => sha256s.includes(sha256));
  }

  async list({ after, limit }: { readonly after?: Hex; readonly limit: number }): Promise<StoredBlob[]> {
    if (after !== undefined) checkDigest(after);
    return this.#listed()
      .filter(({ sha256 }) => after === undefined || sha256 > after)
      .slice(0, limit);
  }

  async delete({ sha256, putId }: Pick<StoredBlob, "sha256" | "putId">): Promise<boolean> {
    checkDigest(sha256);
    return this.#blobs.get(sha256)?.putId === putId && this.#blobs.delete(sha256);
  }

  #listed(): StoredBlob[] {
    const now = this.#clock.now();
    return [...this.#blobs]
      .map(([sha256, { putId, putAt }]) => ({ sha256, putId, ageMs: now - putAt }))
      .sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
  }
}
