import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { equal, type Hex, toHex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { hasOwnFile, OutputFiles } from "./output-files.ts";
import { encodeResult, encodeSettled, type OutboxRecord, type ResultHead } from "./records.ts";
import { type Place, type Segment, Segments } from "./segments.ts";

/** A finished assignment. */
export interface Finished extends ResultHead {
  readonly output: Uint8Array;
}

interface Entry {
  readonly head: ResultHead;
  /** Null when only the disk has it. */
  output: Uint8Array | null;
  /** Where it stands on disk; absent until it is written. */
  place?: Place;
}

/** A settled result is noted on disk with the next write, or after this time: the note only saves sending it again. */
const SETTLED_MS = 1_000;

/**
 * Finished results, kept on disk until the coordinator's verdict, through lost streams and crashes. The records of one
 * event-loop turn are appended in one write. Nothing is synced: a power cut loses work, which its lease gives to another
 * node, but never units.
 */
export class Outbox {
  readonly #logger: Logger;
  readonly #dir: string;
  readonly #maxBytes: number;
  readonly #maxMemoryBytes: number;
  readonly #retryMs: number;
  readonly #segments: Segments;
  readonly #files: OutputFiles;
  readonly #entries = new Map<Hex, Entry>();
  readonly #stopping = new AbortController();
  #unwritten = new Set<Entry>();
  #settled: Uint8Array[] = [];
  #noteSettled: NodeJS.Timeout | undefined;
  #memoryBytes = 0;
  #writer: Promise<void> | undefined;
  #diskProblem: string | undefined;
  #readProblem: string | undefined;

  /**
   * `dir` belongs to one daemon and one wallet. `maxBytes` bounds what it holds on disk, `memoryBytes` (default 64 MiB) what
   * it also keeps in memory, so that a short loss of the stream needs no reads. `retryMs` (default 5,000) lies between
   * attempts to write to a failing disk.
   */
  constructor(
    components: { readonly logger: Logger },
    init: { readonly dir: string; readonly maxBytes: number; readonly memoryBytes?: number; readonly retryMs?: number },
  ) {
    this.#logger = components.logger;
    this.#dir = init.dir;
    this.#maxBytes = init.maxBytes;
    this.#maxMemoryBytes = init.memoryBytes ?? 64 * 1024 * 1024;
    this.#retryMs = init.retryMs ?? 5_000;
    this.#segments = new Segments(components, init);
    this.#files = new OutputFiles(components, init);
  }

  /** Reads what an earlier process left. */
  async start(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    await this.#segments.load((record, segment) => this.#load(record, segment));
    await this.#files.sweep(this.heads());
  }

  /** Writes what is pending and closes. Safe to repeat. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#settled.length > 0) this.#write();
    while (this.#writer) await this.#writer;
    await this.#segments.close({ empty: this.#entries.size === 0 });
  }

  /** Results without a verdict. */
  get size(): number {
    return this.#entries.size;
  }

  /** Bytes on disk, and those on their way to it. */
  get bytes(): number {
    let bytes = this.#files.bytes + this.#segments.bytes;
    for (const entry of this.#unwritten) bytes += entry.head.outputBytes;
    return bytes;
  }

  /** Why it cannot hold `more` bytes, for people; undefined when it can. */
  refusal(more: number): string | undefined {
    if (this.#diskProblem !== undefined) return `results cannot be written to disk (${this.#diskProblem})`;
    if (this.bytes + more <= this.#maxBytes) return undefined;
    return `the outbox is full (${this.#entries.size} results without a verdict, --outbox-max-bytes ${this.#maxBytes})`;
  }

  has(assignmentId: Hex): boolean {
    return this.#entries.has(assignmentId);
  }

  /** A result; undefined when there is none. */
  head(assignmentId: Hex): ResultHead | undefined {
    return this.#entries.get(assignmentId)?.head;
  }

  /** Every result without a verdict, oldest first. */
  heads(): ResultHead[] {
    return Array.from(this.#entries.values(), (entry) => entry.head);
  }

  /** Keeps a result. It is on disk soon; a result that is settled before that never gets there. */
  add(finished: Finished): ResultHead {
    const { output, ...head } = finished;
    const entry: Entry = { head, output };
    this.#entries.set(toHex(head.assignmentId), entry);
    this.#memoryBytes += output.length;
    this.#unwritten.add(entry);
    this.#write();
    return head;
  }

  /** Forgets a result; undefined when there is none. */
  settle(assignmentId: Hex): ResultHead | undefined {
    const entry = this.#entries.get(assignmentId);
    if (entry === undefined) return undefined;
    this.#entries.delete(assignmentId);
    if (entry.output !== null) this.#memoryBytes -= entry.output.length;
    if (!this.#unwritten.delete(entry)) {
      this.#settled.push(entry.head.assignmentId);
      this.#noteSettled ??= setTimeout(() => this.#write(), SETTLED_MS).unref();
    }
    if (entry.place) this.#release(entry.head, entry.place.segment);
    return entry.head;
  }

  /** The output of a result; null when it is settled or its file is damaged. Rejects when it cannot be read now. */
  async output(assignmentId: Hex): Promise<Uint8Array | null> {
    const entry = this.#entries.get(assignmentId);
    if (entry === undefined) return null;
    if (entry.output !== null) return entry.output;
    const output = await this.#tryRead(entry);
    if (this.#entries.get(assignmentId) !== entry) return null;
    if (output !== null && equal(createHash("sha256").update(output).digest(), entry.head.outputDigest)) return output;
    this.#logger.error({ assignmentId }, "dropped a damaged result");
    this.settle(assignmentId);
    return null;
  }

  /** Null when the file is missing although its folder exists. */
  async #tryRead({ head, place }: Entry): Promise<Buffer | null> {
    try {
      const output = hasOwnFile(head)
        ? await this.#files.read(head)
        : await this.#segments.read(place!, head.outputBytes);
      this.#readProblem = undefined;
      return output;
    } catch (error) {
      const problem = (error as NodeJS.ErrnoException).code ?? String(error);
      if (problem === "ENOENT" && existsSync(this.#dir)) return null;
      if (problem !== this.#readProblem) {
        this.#logger.error({ error, dir: this.#dir }, "cannot read results from disk, trying again later");
      }
      this.#readProblem = problem;
      throw error;
    }
  }

  #load(record: OutboxRecord, segment: Segment): void {
    if (record.type === "settled") {
      for (const id of record.assignmentIds) this.#forget(toHex(id));
      return;
    }
    const { head } = record;
    const id = toHex(head.assignmentId);
    this.#forget(id);
    const offset = record.type === "inline" ? record.offset : 0;
    this.#entries.set(id, { head, output: null, place: { segment, offset } });
    this.#segments.hold(segment);
    if (record.type === "file") this.#files.count(head);
  }

  /** Forgets a result that a later record repeats or settles. */
  #forget(assignmentId: Hex): void {
    const entry = this.#entries.get(assignmentId);
    if (entry?.place === undefined) return;
    this.#entries.delete(assignmentId);
    this.#segments.unhold(entry.place.segment);
    if (hasOwnFile(entry.head)) this.#files.discount(entry.head);
  }

  #release(head: ResultHead, segment: Segment): void {
    if (hasOwnFile(head)) this.#files.remove(head);
    this.#segments.release(segment);
  }

  /** Starts the writer unless it runs already; it begins after this turn, with everything that the turn added. */
  #write(): void {
    this.#writer ??= new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.#writeAll())
      .finally(() => {
        this.#writer = undefined;
      });
  }

  async #writeAll(): Promise<void> {
    clearTimeout(this.#noteSettled);
    this.#noteSettled = undefined;
    while (this.#unwritten.size > 0 || this.#settled.length > 0) {
      try {
        await this.#append();
        if (this.#diskProblem !== undefined) this.#logger.info("writing results to disk again");
        this.#diskProblem = undefined;
      } catch (error) {
        const problem = (error as NodeJS.ErrnoException).code ?? String(error);
        if (this.#diskProblem !== problem) {
          this.#logger.error(
            { error, dir: this.#dir },
            "cannot write results to disk; taking no tasks until there is space",
          );
        }
        this.#diskProblem = problem;
        if (this.#stopping.signal.aborted) return;
        await delay(this.#retryMs, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => {});
      }
    }
  }

  /** Writes everything that is pending, in one go. What fails stays pending. */
  async #append(): Promise<void> {
    const entries = [...this.#unwritten];
    const settled = this.#settled.slice();
    for (const { head, output } of entries) if (hasOwnFile(head)) await this.#files.write(head, output!);
    const records = entries.map(({ head, output }) => encodeResult(head, hasOwnFile(head) ? null : output));
    if (settled.length > 0) records.push(encodeSettled(settled));
    const ends = await this.#segments.append(records);
    this.#settled = this.#settled.slice(settled.length);
    for (const [i, entry] of entries.entries()) this.#written(entry, ends[i]!);
  }

  #written(entry: Entry, { segment, offset }: Place): void {
    const { head } = entry;
    const isFile = hasOwnFile(head);
    if (isFile) this.#files.count(head);
    this.#segments.hold(segment);
    if (this.#unwritten.delete(entry)) {
      // An output ends its record.
      entry.place = { segment, offset: isFile ? 0 : offset - head.outputBytes };
      if (isFile || this.#memoryBytes > this.#maxMemoryBytes) this.#dropFromMemory(entry);
    } else {
      // Settled while it was being written.
      this.#release(head, segment);
      this.#settled.push(head.assignmentId);
    }
  }

  #dropFromMemory(entry: Entry): void {
    this.#memoryBytes -= entry.output?.length ?? 0;
    entry.output = null;
  }
}
