import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { equal, fromHex, type Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { sha256 } from "../sha256.ts";

const NAME = /^[0-9a-f]{64}$/;
/** A file that is being written, or whose writing was cut short. */
const DRAFT = ".draft";

/**
 * Content on disk, named by its SHA-256 and checked whenever it is read, of at most so many bytes in all: what was not used
 * for the longest time goes first. Whatever goes wrong with the disk costs another download and nothing else.
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

  /** `dir` belongs to one daemon. It is made with the first content. */
  constructor(components: { readonly logger: Logger }, init: { readonly dir: string; readonly maxBytes: number }) {
    this.#logger = components.logger;
    this.#dir = init.dir;
    this.#maxBytes = init.maxBytes;
  }

  /** Content of that digest; undefined when there is none, or none that is whole. */
  async read(digest: Hex): Promise<Uint8Array | undefined> {
    const name = digest.slice(2);
    await this.#load();
    if (!this.#sizes.has(name)) return undefined;
    const content = await this.#readFile(name);
    if (content === undefined) return undefined;
    if (!equal(await sha256(content), fromHex(digest))) {
      this.#logger.warn({ sha256: digest }, "cached content is damaged and is fetched again");
      await this.#remove(name);
      return undefined;
    }
    this.#touch(name);
    const now = new Date();
    await utimes(this.#path(name), now, now).catch(() => {});
    return content;
  }

  /** Keeps content whose digest was checked; what cannot be kept is said in the log. */
  add(digest: Hex, content: Uint8Array): Promise<void> {
    // One after the other, so that the bound holds at any time.
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
          "cannot keep fetched content on disk; free some space, each task fetches its own until then",
        );
      }
      this.#problem = problem;
    }
  }

  /** Reads what an earlier process left, once. */
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
      this.#logger.warn({ error, path }, "cannot delete cached content");
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
