import { createHash, randomBytes } from "node:crypto";
import { MongoBlobs } from "@proof-of-compute/coordinator/adapters/mongo/blobs";
import { MongoConnection } from "@proof-of-compute/coordinator/adapters/mongo/connection";
import { contentOf, newReceipt } from "@proof-of-compute/coordinator/adapters/mongo/receipt-documents";
import { MongoStore } from "@proof-of-compute/coordinator/adapters/mongo/store";
import type { Hex } from "@proof-of-compute/proto";
import mongoose from "mongoose";
import { pino } from "pino";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { ManualClock } from "../support/manual-clock.ts";
import { sharedMongo } from "../support/mongo.ts";
import { aBatch, aReceipt, aTask, hexOf } from "./fixtures.ts";

const logger = pino({ level: "silent" });
const HOUR = 3_600_000;
const server = await sharedMongo();

afterAll(() => server.stop());

async function connect(uri = server.uri()): Promise<MongoConnection> {
  const connection = new MongoConnection({ logger }, { uri });
  onTestFinished(() => connection.stop());
  await connection.start();
  return connection;
}

test("a batch may carry 50,000 receipts, and after a crash the next coordinator stamps the rest", async () => {
  const connection = await connect();
  const store = new MongoStore({ connection, logger });
  await store.start();
  const task = aTask(1);
  const receipts = Array.from({ length: 50_001 }, (_, n) => aReceipt(task, hexOf(n), { acceptedAt: n }));
  const documents = receipts.map((receipt) => newReceipt(receipt.receiptId, contentOf(receipt)));
  await connection.trip((collections) => collections.receipts.insertMany(documents));
  expect(await store.unbatched()).toEqual({ count: 50_001, oldestAcceptedAt: 0 });
  const carried = await store.unbatchedReceipts(50_000);
  expect(await store.insertBatch(aBatch(1, carried))).toBe(true);
  // As if the coordinator had died before its last chunks.
  await connection.trip(async (collections) => {
    const late = { batch_id: 1, accepted_at: { $gte: 40_000 } };
    await collections.receipts.updateMany(late, { $set: { free: true }, $unset: { batch_id: "" } });
    await collections.batches.updateOne({ _id: 1 }, { $unset: { stamped: "" } });
  });
  expect(await store.unbatched()).toEqual({ count: 1, oldestAcceptedAt: 50_000 });
  expect(await store.receipt(carried.at(-1)!.receiptId)).toMatchObject({ batchId: 1 });
  expect((await store.totals()).receipts).toBe(50_001);
  await store.stop();
}, 300_000);

test("an incomplete blob is never visible, and is deleted after an hour", async () => {
  const connection = await connect();
  const clock = new ManualClock();
  const bytes = randomBytes(3 << 20);
  const digest: Hex = `0x${createHash("sha256").update(bytes).digest("hex")}`;
  const id = new mongoose.mongo.ObjectId();
  const pieces = () =>
    connection.trip(({ blobs }) => blobs.db.collection("blobs.chunks").countDocuments({ files_id: id }));
  await connection.trip(async ({ blobs, files }) => {
    await blobs.insertOne({ _id: id.toHexString(), incoming_at: clock.now() });
    const upload = files.openUploadStreamWithId(id, digest);
    await new Promise((resolve) => upload.write(bytes.subarray(0, 2 << 20), resolve));
  });
  expect(await pieces()).toBeGreaterThan(0);
  const blobs = new MongoBlobs({ connection, clock });
  expect([await blobs.has(digest), await blobs.get(digest)]).toEqual([false, null]);
  await blobs.put(digest, bytes);
  expect(await pieces()).toBeGreaterThan(0);
  clock.advance(HOUR + 1);
  const other = randomBytes(2 << 20);
  await blobs.put(`0x${createHash("sha256").update(other).digest("hex")}`, other);
  expect(await pieces()).toBe(0);
  expect(Buffer.compare((await blobs.get(digest))!, bytes)).toBe(0);
});
