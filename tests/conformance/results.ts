import { createHash } from "node:crypto";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import { type Blobs, YOUNG_BLOB_MS } from "@proof-of-compute/coordinator/ports/blobs";
import type { Clock } from "@proof-of-compute/coordinator/ports/clock";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import { Retention } from "@proof-of-compute/coordinator/services/retention";
import type { Hex } from "@proof-of-compute/proto";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { digestOf } from "./blobs.ts";
import { aVerifiedTask } from "./fixtures.ts";

/** The store and the blobs of one network, empty, as one coordinator has them. */
export interface MadeResults {
  readonly store: Store;
  readonly blobs: Blobs;
  /** Another coordinator's view of the same data; the same object if the data belongs to one coordinator. */
  another(): Promise<{ readonly store: Store; readonly blobs: Blobs }>;
  /** Makes every blob older by this many milliseconds. */
  makeOlder(ms: number): Promise<void>;
}

type Coordinator = Pick<MadeResults, "store" | "blobs">;

/** How long {@link sweepAt} keeps results and tasks. */
export const RETENTION_MS = 1_000_000;
/** Large enough for GridFS in one of them. */
const SIZES = [100, 1_200_000] as const;

/** What every pair of a store and blobs must do: receipts, their results, and retention. */
export function describeResults(name: string, make: () => Promise<MadeResults>): void {
  describe(`${name}: results`, () => {
    test.each(SIZES)("keep a blob of %i bytes until the last receipt that refers to it is forgotten", async (size) => {
      const made = await make();
      const bytes = outputOf(1, size);
      const receipts: Receipt[] = [];
      for (const n of [1, 2, 3]) receipts.push(await accept(made, n, bytes, n * 1_000));
      await made.makeOlder(YOUNG_BLOB_MS);
      for (const [index, { acceptedAt }] of receipts.entries()) {
        expect(Buffer.compare((await made.blobs.get(digestOf(bytes)))!, bytes)).toBe(0);
        expect(await made.store.referredDigests([digestOf(bytes)])).toEqual([digestOf(bytes)]);
        await sweepAt(acceptedAt + RETENTION_MS + 1, made);
        expect(await made.store.receiptsWithResult(Number.MAX_SAFE_INTEGER, 9)).toEqual(receipts.slice(index + 1));
      }
      expect(await made.blobs.get(digestOf(bytes))).toBeNull();
      expect(await made.store.referredDigests([digestOf(bytes)])).toEqual([]);
      for (const { receiptId } of receipts) expect(await made.store.receipt(receiptId)).not.toBeNull();
    });

    test("keep a blob for a receipt whose task is pruned, and for one of an unknown kind", async () => {
      const made = await make();
      const bytes = [outputOf(1, 100), outputOf(2, 100)] as const;
      const pruned = await accept(made, 1, bytes[0], 5_000);
      await accept(made, 2, bytes[1], 5_000, { kind: "of-next-year" as Receipt["kind"] });
      expect(await made.store.pruneTasks(5_001, 1)).toBe(1);
      await made.store.pruneTasks(5_001, 1);
      await made.makeOlder(YOUNG_BLOB_MS);
      await sweepAt(6_000, made);
      expect(await made.store.task(pruned.taskId)).toBeNull();
      for (const each of bytes) expect(await made.blobs.has(digestOf(each))).toBe(true);
      await sweepAt(5_001 + RETENTION_MS, made);
      for (const each of bytes) expect(await made.blobs.has(digestOf(each))).toBe(false);
    });

    test("leave an old blob that no receipt refers to, and retention deletes it; a young one stays", async () => {
      const made = await make();
      const bytes = SIZES.map((size) => outputOf(1, size));
      for (const each of bytes) await made.blobs.put(digestOf(each), each);
      await inspectAll(made);
      for (const each of bytes) expect(await made.blobs.has(digestOf(each))).toBe(true);
      await made.makeOlder(YOUNG_BLOB_MS);
      await inspectAll(made);
      for (const each of bytes) expect(await made.blobs.has(digestOf(each))).toBe(false);
    });

    test.each(SIZES)(
      "of %i bytes survive sweeps of two coordinators while equal results are accepted",
      async (size) => {
        const made = await make();
        const another = await made.another();
        const coordinators = [made, another];
        let n = 0;
        for (let round = 0; round < (size === SIZES[0] ? 30 : 10); round++) {
          const bytes = outputOf(round % 3, size);
          const due = await accept(made, n++, bytes, n);
          await made.makeOlder(YOUNG_BLOB_MS);
          const now = due.acceptedAt + RETENTION_MS + 1;
          const [accepted] = await Promise.all([
            after(round % 7, () => accept(another, n++, bytes, now)),
            sweepAt(now, made),
            after(round % 3, () => sweepAt(now, another)),
          ]);
          for (const { store, blobs } of coordinators) {
            expect(Buffer.compare((await blobs.get(digestOf(bytes)))!, bytes)).toBe(0);
            const kept = await store.receiptsWithResult(Number.MAX_SAFE_INTEGER, 99);
            expect(kept).toEqual([accepted]);
          }
          // Both sweep the rest concurrently.
          await made.makeOlder(YOUNG_BLOB_MS);
          await Promise.all(coordinators.map((each) => sweepAt(now + RETENTION_MS + 1, each)));
          expect(await made.blobs.has(digestOf(bytes))).toBe(false);
        }
        expect(await made.blobs.list({ limit: 9 })).toEqual([]);
      },
    );
  });
}

function outputOf(n: number, size: number): Uint8Array {
  return createHash("shake256", { outputLength: size }).update(`output ${n}`).digest();
}

/** Accepts the result of the n-th task as the intake does: blob, then receipt. */
export async function accept(
  { store, blobs }: Coordinator,
  n: number,
  bytes: Uint8Array,
  acceptedAt: number,
  change: Partial<Receipt> = {},
): Promise<Receipt> {
  const resultDigest = digestOf(bytes);
  const { queued, running, receipt, verified } = aVerifiedTask(n, { acceptedAt, resultDigest, ...change });
  await store.insertTask(queued);
  await store.saveTask(running);
  await blobs.put(resultDigest, bytes);
  await store.saveTask(verified, { receipt });
  return receipt;
}

/** One sweep of a coordinator at a time. */
export async function sweepAt(now: number, { store, blobs }: Coordinator): Promise<void> {
  let failure: unknown;
  const log = (line: string) => {
    const { level, err } = JSON.parse(line);
    if (level > 30) failure = err ?? line;
  };
  const clock: Clock = {
    now: () => now,
    monotonic: () => now,
    every: () => () => undefined,
    after: (ms, callback) => {
      // Only the pauses: there is one sweep.
      if (ms < 1_000) setImmediate(callback);
      return () => undefined;
    },
  };
  const retention = new Retention(
    { store, blobs, clock, logger: pino({}, { write: log }), random: () => 0 },
    { retentionMs: RETENTION_MS, taskRetentionMs: RETENTION_MS },
  );
  retention.start();
  await retention.sweep();
  await retention.stop();
  expect(failure).toBeUndefined();
}

/** Sweeps at a time when nothing is due. */
async function inspectAll(coordinator: Coordinator): Promise<void> {
  await sweepAt(0, coordinator);
}

async function after<T>(turns: number, run: () => Promise<T>): Promise<T> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  return run();
}

/** Digests of blobs that receipts refer to and that are missing. */
export async function missingBlobs({ store, blobs }: Coordinator): Promise<Hex[]> {
  const receipts = await store.receiptsWithResult(Number.MAX_SAFE_INTEGER, 1_000);
  const missing: Hex[] = [];
  for (const { resultDigest } of receipts) if (!(await blobs.has(resultDigest))) missing.push(resultDigest);
  return missing;
}
