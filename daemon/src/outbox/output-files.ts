import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toHex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import type { ResultHead } from "./records.ts";

/** An output above this size is a file of its own, so that settling it frees its space at once. */
const THRESHOLD = 64 * 1024;
const SUFFIX = ".bin";
/** Suffix of a file that is being written, or that a crash left unfinished. */
const DRAFT = ".draft";

/** Whether an output is kept in a file of its own. */
export function hasOwnFile({ outputBytes }: ResultHead): boolean {
  return outputBytes > THRESHOLD;
}

/** The large outputs of an outbox, a file each. */
export class OutputFiles {
  readonly #logger: Logger;
  readonly #dir: string;
  #bytes = 0;

  constructor(components: { readonly logger: Logger }, init: { readonly dir: string }) {
    this.#logger = components.logger;
    this.#dir = init.dir;
  }

  /** Total size of the counted files. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Removes the files that no result of an earlier process needs. */
  async sweep(results: Iterable<ResultHead>): Promise<void> {
    const wanted = new Set(Array.from(results, fileName));
    for (const name of await readdir(this.#dir)) {
      if (name.endsWith(SUFFIX) ? !wanted.has(name) : name.endsWith(DRAFT)) {
        await rm(join(this.#dir, name), { force: true });
      }
    }
  }

  /** Writes a file or replaces it; a crash leaves all of it or none. */
  async write(head: ResultHead, output: Uint8Array): Promise<void> {
    const path = this.#path(head);
    await writeFile(`${path}${DRAFT}`, output, { mode: 0o600 });
    await rename(`${path}${DRAFT}`, path);
  }

  /** Counts a file that is on disk. */
  count({ outputBytes }: ResultHead): void {
    this.#bytes += outputBytes;
  }

  /** Reverses {@link count}; the file stays. */
  discount({ outputBytes }: ResultHead): void {
    this.#bytes -= outputBytes;
  }

  read(head: ResultHead): Promise<Buffer> {
    return readFile(this.#path(head));
  }

  /** Deletes a file that was counted. */
  remove(head: ResultHead): void {
    this.discount(head);
    const path = this.#path(head);
    rm(path, { force: true }).catch((error) => this.#logger.warn({ error, path }, "cannot delete a settled output"));
  }

  #path(head: ResultHead): string {
    return join(this.#dir, fileName(head));
  }
}

function fileName({ assignmentId }: ResultHead): string {
  return `${toHex(assignmentId).slice(2)}${SUFFIX}`;
}
