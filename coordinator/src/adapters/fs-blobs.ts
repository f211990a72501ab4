import { randomUUID } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Hex } from "@proof-of-compute/proto";
import { ComputeError } from "../domain/errors.ts";
import type { Blobs, StoredBlob } from "../ports/blobs.ts";
import { checkDigest, digestOf } from "./blob-digests.ts";

/** The folder and the file of a digest, without `0x`. */
const FOLDER = /^[0-9a-f]{2}$/;
const FILE = /^[0-9a-f]{62}$/;

/**
 * Blobs as files `ab/cdef…`, named by their digest and readable by their owner only. A blob is written to a draft and renamed
 * once it is on disk, so no file has half a blob. The folder belongs to one coordinator.
 */
export class FsBlobs implements Blobs {
  readonly #directory: string;
  readonly #incoming: string;
  #emptied: Promise<void> | undefined;
  /** Paths that a put or a deletion is changing: the last of those changes. */
  readonly #changes = new Map<string, Promise<unknown>>();

  /** Creates `directory` if it is missing. */
  constructor(_components: object, { directory }: { directory: string }) {
    this.#directory = directory;
    this.#incoming = join(directory, "incoming");
  }

  /** Rejects with INVALID_REQUEST when the bytes do not match the digest, UNAVAILABLE when the disk refuses. */
  async put(sha256: Hex, bytes: Uint8Array): Promise<void> {
    if (digestOf(bytes) !== sha256) throw new ComputeError("INVALID_REQUEST", "the bytes do not fit their digest");
    const path = this.#pathOf(sha256);
    try {
      await this.#write(path, bytes);
    } catch (cause) {
      throw new ComputeError("UNAVAILABLE", "the blob could not be written", { cause });
    }
  }

  /** Rejects with UNAVAILABLE when the file cannot be read or is damaged; putting the blob again repairs it. */
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
      return (await statIfThere(path))?.isFile() ?? false;
    } catch (cause) {
      throw new ComputeError("UNAVAILABLE", "the blob could not be looked up", { cause });
    }
  }

  async find(sha256s: readonly Hex[]): Promise<StoredBlob[]> {
    const paths = sha256s.map((sha256) => ({ sha256, path: this.#pathOf(sha256) }));
    const found: StoredBlob[] = [];
    try {
      for (const { sha256, path } of paths) {
        const stats = await statIfThere(path);
        if (stats?.isFile()) found.push(storedBlob(sha256, stats));
      }
    } catch (cause) {
      throw new ComputeError("UNAVAILABLE", "the blobs could not be looked up", { cause });
    }
    return found;
  }

  async list({ after, limit }: { readonly after?: Hex; readonly limit: number }): Promise<StoredBlob[]> {
    if (after !== undefined) checkDigest(after);
    const start = after ?? "0x";
    const found: Hex[] = [];
    try {
      for (const folder of await namesIn(this.#directory, FOLDER)) {
        if (found.length >= limit) break;
        if (folder < start.slice(2, 4)) continue;
        for (const file of await namesIn(join(this.#directory, folder), FILE)) {
          if (`0x${folder}${file}` > start) found.push(`0x${folder}${file}`);
        }
      }
    } catch (cause) {
      throw new ComputeError("UNAVAILABLE", "the blobs could not be listed", { cause });
    }
    return this.find(found.slice(0, limit));
  }

  async delete({ sha256, putId }: Pick<StoredBlob, "sha256" | "putId">): Promise<boolean> {
    const path = this.#pathOf(sha256);
    try {
      return await this.#alone(path, async () => {
        const stats = await statIfThere(path);
        if (!stats || storedBlob(sha256, stats).putId !== putId) return false;
        await rm(path);
        return true;
      });
    } catch (cause) {
      throw new ComputeError("UNAVAILABLE", "the blob could not be deleted", { cause });
    }
  }

  #pathOf(sha256: Hex): string {
    checkDigest(sha256);
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
      await this.#alone(path, () => rename(temporary, path));
      await syncFolder(dirname(path));
      if (made !== undefined) await syncFolder(this.#directory);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** Runs after every earlier change of the path, and before every later one. */
  async #alone<T>(path: string, run: () => Promise<T>): Promise<T> {
    const change = Promise.resolve(this.#changes.get(path)).then(run, run);
    this.#changes.set(path, change);
    try {
      return await change;
    } finally {
      if (this.#changes.get(path) === change) this.#changes.delete(path);
    }
  }

  /** Deletes drafts that a killed process left. */
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

/** Each put makes a new file, so its inode and time name the put. */
function storedBlob(sha256: Hex, { ino, mtimeNs, mtimeMs }: BigIntStats): StoredBlob {
  return { sha256, putId: `${ino}.${mtimeNs}`, ageMs: Date.now() - Number(mtimeMs) };
}

async function statIfThere(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Matching names in a folder, sorted; none when the folder is missing. */
async function namesIn(folder: string, form: RegExp): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => form.test(name)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Makes new names in a folder durable. Windows has no such call; NTFS journals names. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
