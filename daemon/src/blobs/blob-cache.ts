import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { equal, fromHex, type Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { sha256 } from "../sha256.ts";

const NAME = /^[0-9a-f]{64}$/;
/** Suffix of a file that is being written, or that a crash left unfinished. */
const DRAFT = ".draft";

/**
 * Blobs on disk, named by their SHA-256, which is checked at every read. When the cache is full, the least recently used blob
 * makes room. Disk errors cost another download and nothing else.
 */
export class BlobCache {
  readonly #logger: Logger;
  readonly #dir: string;
  readonly #maxBytes: number;
  /** Sizes, least recently used first. */
  readonly #sizes = new Map<string, number>();
  #bytes = 0;
  #loading: Promise<void> | undefined;
  #writing: Promise<void> = Promise.resolve();
  #problem: string | undefined;

  /** `dir` belongs to one daemon; the first blob creates it. `maxBytes` bounds all blobs together. */
  constructor(components: { readonly logger: Logger }, init: { readonly dir: string; readonly maxBytes: number }) {
    this.#logger = components.logger;
    this.#dir = init.dir;
    this.#maxBytes = init.maxBytes;
  }

  /** The blob with this digest; undefined when it is missing or damaged. */
  async read(digest: Hex): Promise<Uint8Array | undefined> {
    const name = digest.slice(2);
    await this.#load();
    if (!this.#sizes.has(name)) return undefined;
    const content = await this.#readFile(name);
    if (content === undefined) return undefined;
    if (!equal(await sha256(content), fromHex(digest))) {
      this.#logger.warn({ sha256: digest }, "dropped a damaged blob from the cache");
      await this.#remove(name);
      return undefined;
    }
    this.#touch(name);
    const now = new Date();
    await utimes(this.#path(name), now, now).catch(() => {});
    return content;
  }

  /** Keeps a blob whose digest was checked. Logs an error when it cannot. */
  add(digest: Hex, content: Uint8Array): Promise<void> {
    // One after the other, so that the bound holds at all times.
    const written = this.#writing.then(() => this.#write(digest.slice(2), content));
    this.#writing = written;
    return written;
  }

  async #readFile(name: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.#path(name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") this.#forget(name);
      return undefined;
    }
  }

  async #write(name: string, content: Uint8Array): Promise<void> {
    await this.#load();
    if (this.#sizes.has(name) || content.length > this.#maxBytes) return;
    await this.#evict(this.#maxBytes - content.length);
    const path = this.#path(name);
    try {
      await mkdir(this.#dir, { recursive: true, mode: 0o700 });
      await writeFile(path + DRAFT, content, { mode: 0o600 });
      await rename(path + DRAFT, path);
      this.#sizes.set(name, content.length);
      this.#bytes += content.length;
      this.#problem = undefined;
    } catch (error) {
      await rm(path + DRAFT, { force: true }).catch(() => {});
      const problem = (error as NodeJS.ErrnoException).code ?? String(error);
      if (problem !== this.#problem) {
        this.#logger.error(
          { error, dir: this.#dir },
          "cannot keep blobs on disk; tasks fetch them again until there is space",
        );
      }
      this.#problem = problem;
    }
  }

  /** Lists what an earlier process left, once. */
  #load(): Promise<void> {
    this.#loading ??= this.#list();
    return this.#loading;
  }

  async #list(): Promise<void> {
    const names = await readdir(this.#dir).catch(() => []);
    const found: { name: string; size: number; usedAt: number }[] = [];
    for (const name of names) {
      if (name.endsWith(DRAFT)) await rm(this.#path(name), { force: true }).catch(() => {});
      if (!NAME.test(name)) continue;
      const file = await stat(this.#path(name)).catch(() => undefined);
      if (file) found.push({ name, size: file.size, usedAt: file.mtimeMs });
    }
    for (const { name, size } of found.sort((a, b) => a.usedAt - b.usedAt)) {
      this.#sizes.set(name, size);
      this.#bytes += size;
    }
    await this.#evict(this.#maxBytes);
  }

  /** Removes the least recently used until at most `bytes` are left. */
  async #evict(bytes: number): Promise<void> {
    while (this.#bytes > bytes) {
      const [oldest] = this.#sizes.keys();
      await this.#remove(oldest!);
    }
  }

  async #remove(name: string): Promise<void> {
    this.#forget(name);
    const path = this.#path(name);
    await rm(path, { force: true }).catch((error: unknown) => {
      this.#logger.warn({ error, path }, "cannot delete a cached blob");
    });
  }

  #forget(name: string): void {
    this.#bytes -= this.#sizes.get(name) ?? 0;
    this.#sizes.delete(name);
  }

  #touch(name: string): void {
    const size = this.#sizes.get(name);
    if (size === undefined) return;
    this.#sizes.delete(name);
    this.#sizes.set(name, size);
  }

  #path(name: string): string {
    return join(this.#dir, name);
  }
}
