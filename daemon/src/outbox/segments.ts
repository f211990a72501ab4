import { type FileHandle, open, readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { decodeRecords, type OutboxRecord } from "./records.ts";

/** A segment of this size is closed; it is deleted as soon as no record in it is needed. */
const SEGMENT_BYTES = 4 * 1024 * 1024;
/** The kernel takes at most this many buffers a call. */
const WRITEV_BUFFERS = 1_024;
const SUFFIX = ".log";

/** One file of records. */
export interface Segment {
  readonly path: string;
  bytes: number;
  /** Records in it that are needed. */
  live: number;
}

/** Where something stands. */
export interface Place {
  readonly segment: Segment;
  readonly offset: number;
}

/** Records in files of a folder, appended to the newest; a file in which no record is needed any more is deleted. */
export class Segments {
  readonly #logger: Logger;
  readonly #dir: string;
  readonly #segments = new Set<Segment>();
  #active: { readonly segment: Segment; readonly file: FileHandle } | undefined;
  #next = 1;

  constructor(components: { readonly logger: Logger }, init: { readonly dir: string }) {
    this.#logger = components.logger;
    this.#dir = init.dir;
  }

  /** On disk. */
  get bytes(): number {
    let bytes = 0;
    for (const segment of this.#segments) bytes += segment.bytes;
    return bytes;
  }

  /** Passes everything that an earlier process wrote to `take`, oldest first, which {@link hold}s what it needs. */
  async load(take: (record: OutboxRecord, segment: Segment) => void): Promise<void> {
    const names = (await readdir(this.#dir)).filter((name) => name.endsWith(SUFFIX)).sort();
    for (const name of names) {
      const path = join(this.#dir, name);
      const content = await readFile(path);
      const { records, goodBytes } = decodeRecords(content);
      if (goodBytes < content.length) {
        this.#logger.warn(
          { path, cutBytes: content.length - goodBytes },
          "cut the unfinished end of an outbox segment",
        );
        await truncate(path, goodBytes);
      }
      const segment: Segment = { path, bytes: goodBytes, live: 0 };
      this.#segments.add(segment);
      this.#next = Math.max(this.#next, Number.parseInt(name, 10) + 1);
      for (const record of records) take(record, segment);
    }
    await this.#discardAll((segment) => segment.live === 0);
  }

  /** Writes records in one go; returns where each of them ends. The next write overwrites one that failed. */
  async append(records: readonly (readonly Uint8Array[])[]): Promise<Place[]> {
    const { segment, file } = await this.#activeSegment();
    let offset = segment.bytes;
    const ends = records.map((record) => {
      for (const part of record) offset += part.length;
      return { segment, offset };
    });
    await writeFully(file, records.flat(), segment.bytes);
    segment.bytes = offset;
    return ends;
  }

  async read({ segment, offset }: Place, bytes: number): Promise<Buffer> {
    const file = await open(segment.path);
    try {
      const content = Buffer.alloc(bytes);
      await file.read(content, 0, bytes, offset);
      return content;
    } finally {
      await file.close();
    }
  }

  /** A record of the segment is needed. */
  hold(segment: Segment): void {
    segment.live++;
  }

  /** During {@link load}: a record that was held is not needed after all. */
  unhold(segment: Segment): void {
    segment.live--;
  }

  /** A record that was held is not needed any more. */
  release(segment: Segment): void {
    segment.live--;
    if (segment.live === 0 && segment !== this.#active?.segment) void this.#discard(segment);
  }

  /** Closes the files; deletes them if `empty`, when no record is needed. Safe to repeat. */
  async close({ empty }: { readonly empty: boolean }): Promise<void> {
    await this.#active?.file.close();
    this.#active = undefined;
    if (empty) await this.#discardAll(() => true);
  }

  async #activeSegment(): Promise<{ segment: Segment; file: FileHandle }> {
    if (this.#active && this.#active.segment.bytes < SEGMENT_BYTES) return this.#active;
    const path = join(this.#dir, `${String(this.#next).padStart(8, "0")}${SUFFIX}`);
    const file = await open(path, "w", 0o600);
    this.#next++;
    const full = this.#active;
    const segment: Segment = { path, bytes: 0, live: 0 };
    this.#segments.add(segment);
    this.#active = { segment, file };
    await full?.file.close();
    if (full?.segment.live === 0) await this.#discard(full.segment);
    return this.#active;
  }

  async #discardAll(which: (segment: Segment) => boolean): Promise<void> {
    for (const segment of [...this.#segments].filter(which)) await this.#discard(segment);
  }

  async #discard(segment: Segment): Promise<void> {
    this.#segments.delete(segment);
    await rm(segment.path, { force: true }).catch((error) =>
      this.#logger.warn({ error, path: segment.path }, "cannot delete a settled outbox segment"),
    );
  }
}

async function writeFully(file: FileHandle, parts: readonly Uint8Array[], position: number): Promise<void> {
  const bytes = parts.reduce((length, part) => length + part.length, 0);
  if (parts.length <= WRITEV_BUFFERS) {
    const { bytesWritten } = await file.writev(parts, position);
    if (bytesWritten === bytes) return;
  }
  const joined = Buffer.concat(parts, bytes);
  let written = 0;
  while (written < bytes) {
    written += (await file.write(joined, written, bytes - written, position + written)).bytesWritten;
  }
}
