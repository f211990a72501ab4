import { crc32 } from "node:zlib";
import { NETWORK_ID_BYTES, NO_NETWORK } from "../session/network-id.ts";

/** A finished assignment, without its output. */
export interface ResultHead {
  /** 16 bytes. */
  readonly assignmentId: Uint8Array;
  /** 16 bytes. */
  readonly taskId: Uint8Array;
  /** 32 bytes. */
  readonly specDigest: Uint8Array;
  /** 32 bytes. */
  readonly outputDigest: Uint8Array;
  readonly outputBytes: number;
  /** Network of the coordinator that assigned it. */
  readonly networkId: Uint8Array;
}

/** What a segment of the outbox holds. */
export type OutboxRecord =
  /** The output is in the segment, from `offset`. */
  | { readonly type: "inline"; readonly head: ResultHead; readonly offset: number }
  /** The output is a file of its own. */
  | { readonly type: "file"; readonly head: ResultHead }
  /** These assignments have their verdicts. */
  | { readonly type: "settled"; readonly assignmentIds: readonly Uint8Array[] };

// A record: uint32le length of the body, uint32le CRC-32 of the body, body. A body: type, then the fields in order.
const FRAME_BYTES = 8;
const ID_BYTES = 16;
const HEAD_BYTES = 1 + 2 * ID_BYTES + 2 * 32 + 4 + NETWORK_ID_BYTES;
// Written by versions without network ids; only read.
const OLD_HEAD_BYTES = HEAD_BYTES - NETWORK_ID_BYTES;
const OLD_INLINE = 1;
const OLD_FILE = 2;
const SETTLED = 3;
const INLINE = 4;
const FILE = 5;

/** Encodes a result, with its output unless that is null because a file has it. Returns the parts in order. */
export function encodeResult(head: ResultHead, output: Uint8Array | null): Uint8Array[] {
  const start = Buffer.allocUnsafe(FRAME_BYTES + HEAD_BYTES);
  let at = start.writeUInt8(output ? INLINE : FILE, FRAME_BYTES);
  for (const field of [head.assignmentId, head.taskId, head.specDigest, head.outputDigest]) {
    start.set(field, at);
    at += field.length;
  }
  at = start.writeUInt32LE(head.outputBytes, at);
  start.set(head.networkId, at);
  const parts = output ? [start, output] : [start];
  return frame(start, parts);
}

/** Encodes that results are settled. */
export function encodeSettled(assignmentIds: readonly Uint8Array[]): Uint8Array[] {
  const start = Buffer.allocUnsafe(FRAME_BYTES + 1);
  start.writeUInt8(SETTLED, FRAME_BYTES);
  return frame(start, [start, ...assignmentIds]);
}

function frame(start: Buffer, parts: readonly Uint8Array[]): Uint8Array[] {
  let length = -FRAME_BYTES;
  let checksum = crc32(start.subarray(FRAME_BYTES));
  for (const part of parts) length += part.length;
  for (const part of parts.slice(1)) checksum = crc32(part, checksum);
  start.writeUInt32LE(length, 0);
  start.writeUInt32LE(checksum, 4);
  return [...parts];
}

/**
 * Reads a segment up to the first record that is cut short or damaged, as after a crash in the middle of a write.
 * `goodBytes` is where that record begins.
 */
export function decodeRecords(segment: Buffer): { records: OutboxRecord[]; goodBytes: number } {
  const records: OutboxRecord[] = [];
  let at = 0;
  while (at + FRAME_BYTES <= segment.length) {
    const end = at + FRAME_BYTES + segment.readUInt32LE(at);
    if (end > segment.length) break;
    const body = segment.subarray(at + FRAME_BYTES, end);
    if (crc32(body) !== segment.readUInt32LE(at + 4)) break;
    const record = decodeBody(body, at + FRAME_BYTES);
    if (record === null) break;
    records.push(record);
    at = end;
  }
  return { records, goodBytes: at };
}

function decodeBody(body: Buffer, bodyAt: number): OutboxRecord | null {
  const type = body[0];
  if (type === SETTLED && (body.length - 1) % ID_BYTES === 0) {
    const assignmentIds: Buffer[] = [];
    for (let at = 1; at < body.length; at += ID_BYTES)
      assignmentIds.push(Buffer.from(body.subarray(at, at + ID_BYTES)));
    return { type: "settled", assignmentIds };
  }
  const old = type === OLD_INLINE || type === OLD_FILE;
  const headBytes = old ? OLD_HEAD_BYTES : HEAD_BYTES;
  if (body.length < headBytes) return null;
  // Copies, because views would keep the whole segment in memory.
  const field = (from: number, length: number) => Buffer.from(body.subarray(from, from + length));
  const head: ResultHead = {
    assignmentId: field(1, 16),
    taskId: field(17, 16),
    specDigest: field(33, 32),
    outputDigest: field(65, 32),
    outputBytes: body.readUInt32LE(97),
    networkId: old ? NO_NETWORK : field(101, NETWORK_ID_BYTES),
  };
  if ((type === FILE || type === OLD_FILE) && body.length === headBytes) return { type: "file", head };
  if ((type === INLINE || type === OLD_INLINE) && body.length === headBytes + head.outputBytes) {
    return { type: "inline", head, offset: bodyAt + headBytes };
  }
  return null;
}
