import { hash, randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Hex } from "@proof-of-compute/proto";
import { ComputeError } from "../domain/errors.ts";
import type { Blobs } from "../ports/blobs.ts";

/**
 * Blobs as files `ab/cdef…` named by their digest, for the owner's eyes only. A blob is written beside and renamed into
 * place once it is on disk, so a name never shows half a blob. The folder belongs to one coordinator.
 */
export class FsBlobs implements Blobs {
  readonly #directory: string;
  readonly #incoming: string;
  #emptied: Promise<void> | undefined;

  /** `directory` is made when absent. */
  constructor(_components: object, { directory }: { directory: string }) {
    this.#directory = directory;
    this.#incoming = join(directory, "incoming");
  }

  /** Rejects with INVALID_REQUEST when the bytes are others than the digest says, UNAVAILABLE when the disk refuses. */
  async put(sha256: Hex, bytes: Uint8Array): Promise<void> {
    if (digestOf(bytes) !== sha256) throw new ComputeError("INVALID_REQUEST", "the bytes do not fit their digest");
    const path = this.#pathOf(sha256);
    try {
      await this.#write(path, bytes);
    } catch (cause) {
      throw new ComputeError("UNAVAILABLE", "the blob could not be written", { cause });
    }
  }

  /** Rejects with UNAVAILABLE when the file cannot be read or is damaged; putting the blob again mends it. */
  async get(sha256: Hex): Promise<Uint8Array | null> {
    const path = this.#pathOf(sha256);
    let bytes: Uint8Array;
    try {
      bytes = await readFile(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw new ComputeError("UNAVAILABLE", "the blob could not be read", { cause });
    }
    if (digestOf(bytes) !== sha256) throw new ComputeError("UNAVAILABLE", `the blob ${sha256} is damaged on disk`);
    return bytes;
  }

  async has(sha256: Hex): Promise<boolean> {
    const path = this.#pathOf(sha256);
    try {
      return (await stat(path)).isFile();
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") return false;
      throw new ComputeError("UNAVAILABLE", "the blob could not be looked up", { cause });
    }
  }

  async delete(sha256: Hex): Promise<void> {
    const path = this.#pathOf(sha256);
    try {
      await rm(path, { force: true });
    } catch (cause) {
      throw new ComputeError("UNAVAILABLE", "the blob could not be deleted", { cause });
    }
  }

  #pathOf(sha256: Hex): string {
    if (!/^0x[0-9a-f]{64}$/.test(sha256)) throw new ComputeError("INVALID_REQUEST", "not a SHA-256 digest");
    return join(this.#directory, sha256.slice(2, 4), sha256.slice(4));
  }

  async #write(path: string, bytes: Uint8Array): Promise<void> {
    this.#emptied ??= this.#empty();
    await this.#emptied;
    const temporary = join(this.#incoming, randomUUID());
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      const made = await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await rename(temporary, path);
      await syncFolder(dirname(path));
      if (made !== undefined) await syncFolder(this.#directory);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** Drops what a killed process left half-written. */
  async #empty(): Promise<void> {
    try {
      await rm(this.#incoming, { recursive: true, force: true });
      await mkdir(this.#incoming, { recursive: true, mode: 0o700 });
    } catch (error) {
      this.#emptied = undefined;
      throw error;
    }
  }
}

function digestOf(bytes: Uint8Array): Hex {
  return `0x${hash("sha256", bytes, "hex")}`;
}

/** Makes new names in a folder durable. Windows knows no such call: there NTFS journals them. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
