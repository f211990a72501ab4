import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { equal, type Hex, toHex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { decodeRecords, encodeResult, encodeSettled, type ResultHead } from "./records.ts";

/** An output above this size is a file of its own, so that settling it frees its space at once. */
const FILE_THRESHOLD = 64 * 1024;
/** A segment of this size is closed; it is deleted as soon as nothing in it is unsettled. */
const SEGMENT_BYTES = 4 * 1024 * 1024;
/** A finished assignment. */
export interface Finished extends ResultHead {
  readonly output: Uint8Array;
}

interface Segment {
  readonly path: string;
  bytes: number;
  /** Results in it that are not settled. */
  live: number;
}

interface Entry {
  readonly head: ResultHead;
  output: Uint8Array | null;
  /** Where it stands on disk; absent until it is written. */
  place?: { readonly segment: Segment; readonly offset: number };
}

/** A settled result is noted on disk with the next one that is written, or after so long: the note only saves a re-send. */
const SETTLED_MS = 1_000;

/**
 * Finished results, on disk until the coordinator's word on them, whatever happens to stream or process. Records of one
 * turn are appended in one write; nothing is synced, because a machine that loses power loses work that its lease
 * gives to somebody else, never units.
 */
export class Outbox {
  readonly #logger: Logger;
  readonly #dir: string;
  readonly #maxBytes: number;
  readonly #maxMemoryBytes: number;
  readonly #retryMs: number;
  readonly #entries = new Map<Hex, Entry>();
  readonly #segments = new Set<Segment>();
  readonly #stopping = new AbortController();
  #active: { readonly segment: Segment; readonly file: FileHandle } | undefined;
  #nextSegment = 1;
  #unwritten = new Set<Entry>();
  #settled: Uint8Array[] = [];
  #noteSettled: NodeJS.Timeout | undefined;
  #memoryBytes = 0;
  #fileBytes = 0;
  #writer: Promise<void> | undefined;
  #diskProblem: string | undefined;
  #readProblem: string | undefined;

  /**
   * `dir` belongs to one daemon and one wallet; `maxBytes` bounds what it may hold on disk; `memoryBytes` (default 64 MiB)
   * what it keeps in memory besides, so that a short loss of the stream needs no disk; `retryMs` (default 5,000) lies
   * between attempts to write to a disk that refuses.
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
  }

  /** Reads what an earlier process left. */
  async start(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const names = await readdir(this.#dir);
    for (const name of names.filter((each) => each.endsWith(".log")).sort()) await this.#load(name);
    const wanted = new Set([...this.#entries.values()].map((entry) => fileName(entry.head)));
    for (const name of names) {
      if (name.endsWith(".bin") ? !wanted.has(name) : name.endsWith(".draft")) {
        await rm(join(this.#dir, name), { force: true });
      }
    }
    for (const segment of [...this.#segments]) if (segment.live === 0) await this.#discard(segment);
  }

  /** Writes what waits and closes. Safe to repeat. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#settled.length > 0) this.#write();
    while (this.#writer) await this.#writer;
    await this.#active?.file.close();
    this.#active = undefined;
    if (this.#entries.size === 0) for (const segment of [...this.#segments]) await this.#discard(segment);
  }

  /** Results without a verdict. */
  get size(): number {
    return this.#entries.size;
  }

  /** Bytes on disk, and those on their way to it. */
  get bytes(): number {
    let bytes = this.#fileBytes;
    for (const segment of this.#segments) bytes += segment.bytes;
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
    if (entry.place) this.#release(entry, entry.place.segment);
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
    this.#logger.error({ assignmentId }, "a kept result is damaged and was dropped");
    this.settle(assignmentId);
    return null;
  }

  /** Null when there is no such file although its folder is there. */
  async #tryRead(entry: Entry): Promise<Buffer | null> {
    try {
      const output = await this.#read(entry);
      this.#readProblem = undefined;
      return output;
    } catch (error) {
      const problem = (error as NodeJS.ErrnoException).code ?? String(error);
      if (problem === "ENOENT" && existsSync(this.#dir)) return null;
      if (problem !== this.#readProblem) {
        this.#logger.error({ error, dir: this.#dir }, "cannot read results from disk; they are kept and tried again");
      }
      this.#readProblem = problem;
      throw error;
    }
  }

  async #read({ head, place }: Entry): Promise<Buffer> {
    if (head.outputBytes > FILE_THRESHOLD) return readFile(join(this.#dir, fileName(head)));
    const file = await open(place!.segment.path);
    try {
      const output = Buffer.alloc(head.outputBytes);
      await file.read(output, 0, output.length, place!.offset);
      return output;
    } finally {
      await file.close();
    }
  }

  async #load(name: string): Promise<void> {
    const path = join(this.#dir, name);
    const content = await readFile(path);
    const { records, goodBytes } = decodeRecords(content);
    if (goodBytes < content.length) {
      this.#logger.warn({ path, cutBytes: content.length - goodBytes }, "cut the unfinished end of an outbox segment");
      await truncate(path, goodBytes);
    }
    const segment: Segment = { path, bytes: goodBytes, live: 0 };
    this.#segments.add(segment);
    this.#nextSegment = Math.max(this.#nextSegment, Number.parseInt(name, 10) + 1);
    for (const record of records) {
      if (record.type === "settled") {
        for (const id of record.assignmentIds) this.#forget(toHex(id));
        continue;
      }
      const id = toHex(record.head.assignmentId);
      this.#forget(id);
      const offset = record.type === "inline" ? record.offset : 0;
      this.#entries.set(id, { head: record.head, output: null, place: { segment, offset } });
      segment.live++;
      if (record.type === "file") this.#fileBytes += record.head.outputBytes;
    }
  }

  #forget(assignmentId: Hex): void {
    const entry = this.#entries.get(assignmentId);
    if (entry?.place === undefined) return;
    this.#entries.delete(assignmentId);
    entry.place.segment.live--;
    if (entry.head.outputBytes > FILE_THRESHOLD) this.#fileBytes -= entry.head.outputBytes;
  }

  #release({ head }: Entry, segment: Segment): void {
    segment.live--;
    if (head.outputBytes > FILE_THRESHOLD) this.#removeFile(head);
    if (segment.live === 0 && segment !== this.#active?.segment) void this.#discard(segment);
  }

  #removeFile(head: ResultHead): void {
    this.#fileBytes -= head.outputBytes;
    const path = join(this.#dir, fileName(head));
    rm(path, { force: true }).catch((error) => this.#logger.warn({ error, path }, "cannot delete a settled output"));
  }

  async #discard(segment: Segment): Promise<void> {
    this.#segments.delete(segment);
    await rm(segment.path, { force: true }).catch((error) =>
      this.#logger.warn({ error, path: segment.path }, "cannot delete a settled outbox segment"),
    );
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
        if (this.#diskProblem !== undefined) this.#logger.info("results can be written to disk again");
        this.#diskProblem = undefined;
      } catch (error) {
        const problem = (error as NodeJS.ErrnoException).code ?? String(error);
        if (this.#diskProblem !== problem) {
          this.#logger.error(
            { error, dir: this.#dir },
            "cannot write results to disk; free some space, no new tasks until then",
          );
        }
        this.#diskProblem = problem;
        if (this.#stopping.signal.aborted) return;
        await delay(this.#retryMs, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => {});
      }
    }
  }

  /** One write for everything that waits. What fails stays waiting, and is written again over its torn beginning. */
  async #append(): Promise<void> {
    const { segment, file } = await this.#activeSegment();
    const entries = [...this.#unwritten];
    const settled = this.#settled.slice();
    for (const { head, output } of entries) {
      if (head.outputBytes <= FILE_THRESHOLD) continue;
      const path = join(this.#dir, fileName(head));
      await writeFile(`${path}.draft`, output!, { mode: 0o600 });
      await rename(`${path}.draft`, path);
    }
    const parts: Uint8Array[] = [];
    const offsets: number[] = [];
    let end = segment.bytes;
    const push = (record: readonly Uint8Array[]) => {
      for (const part of record) {
        parts.push(part);
        end += part.length;
      }
    };
    for (const { head, output } of entries) {
      const inline = head.outputBytes <= FILE_THRESHOLD;
      push(encodeResult(head, inline ? output : null));
      offsets.push(end - (inline ? head.outputBytes : 0));
    }
    if (settled.length > 0) push(encodeSettled(settled));
    await writeFully(file, parts, segment.bytes);
    segment.bytes = end;
    this.#settled = this.#settled.slice(settled.length);
    for (const [i, entry] of entries.entries()) {
      const large = entry.head.outputBytes > FILE_THRESHOLD;
      if (large) this.#fileBytes += entry.head.outputBytes;
      segment.live++;
      if (this.#unwritten.delete(entry)) {
        entry.place = { segment, offset: offsets[i]! };
        if (large || this.#memoryBytes > this.#maxMemoryBytes) this.#dropFromMemory(entry);
      } else {
        // Settled while it was being written.
        this.#release(entry, segment);
        this.#settled.push(entry.head.assignmentId);
      }
    }
  }

  #dropFromMemory(entry: Entry): void {
    this.#memoryBytes -= entry.output?.length ?? 0;
    entry.output = null;
  }

  async #activeSegment(): Promise<{ segment: Segment; file: FileHandle }> {
    if (this.#active && this.#active.segment.bytes < SEGMENT_BYTES) return this.#active;
    const path = join(this.#dir, `${String(this.#nextSegment).padStart(8, "0")}.log`);
    const file = await open(path, "w", 0o600);
    this.#nextSegment++;
    const full = this.#active;
    const segment: Segment = { path, bytes: 0, live: 0 };
    this.#segments.add(segment);
    this.#active = { segment, file };
    await full?.file.close();
    if (full?.segment.live === 0) await this.#discard(full.segment);
    return this.#active;
  }
}

async function writeFully(file: FileHandle, parts: readonly Uint8Array[], position: number): Promise<void> {
  const bytes = parts.reduce((length, part) => length + part.length, 0);
  // The kernel takes at most 1,024 buffers a call.
  if (parts.length <= 1024) {
    const { bytesWritten } = await file.writev(parts, position);
    if (bytesWritten === bytes) return;
  }
  const joined = Buffer.concat(parts, bytes);
  let written = 0;
  while (written < bytes) {
    written += (await file.write(joined, written, bytes - written, position + written)).bytesWritten;
  }
}

function fileName(head: ResultHead): string {
  return `${toHex(head.assignmentId).slice(2)}.bin`;
}
