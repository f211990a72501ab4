import { randomBytes } from "node:crypto";
import { MongoBlobs } from "@proof-of-compute/coordinator/adapters/mongo/blobs";
import { MongoConnection } from "@proof-of-compute/coordinator/adapters/mongo/connection";
import { MongoStore } from "@proof-of-compute/coordinator/adapters/mongo/store";
import { YOUNG_BLOB_MS } from "@proof-of-compute/coordinator/ports/blobs";
import { pino } from "pino";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { makeDocumentsOlder } from "../support/blobs.ts";
import { sharedMongo } from "../support/mongo.ts";
import { digestOf } from "./blobs.ts";
import { hexOf } from "./fixtures.ts";
import { accept, describeResults, sweepAt } from "./results.ts";

const logger = pino({ level: "silent" });
const server = await sharedMongo();

afterAll(() => server.stop());

async function mongo(uri: string) {
  const connection = new MongoConnection({ logger }, { uri });
  const store = new MongoStore({ connection, logger });
  await store.start();
  onTestFinished(() => store.stop());
  return { connection, store, blobs: new MongoBlobs({ connection }) };
}

describeResults(`MongoStore and MongoBlobs on ${server.description}`, async () => {
  const uri = server.uri();
  const { connection, ...coordinator } = await mongo(uri);
  return { ...coordinator, another: () => mongo(uri), makeOlder: (ms) => makeDocumentsOlder(connection, ms) };
});

/** Takes a result's blob back to what the version before wrote: without a note of when it was put. */
async function removePuts({ connection }: Awaited<ReturnType<typeof mongo>>): Promise<void> {
  await connection.trip(async ({ blobs, file_entries }) => {
    await blobs.updateMany({}, { $unset: { put_id: "", put_at: "" } });
    await file_entries.updateMany({}, { $unset: { metadata: "" } });
  });
}

test.each([100, 1_200_000])("a blob of %i bytes from the version before goes with its receipt", async (size) => {
  const coordinator = await mongo(server.uri());
  const bytes = randomBytes(size);
  const { acceptedAt } = await accept(coordinator, 1, bytes, 1);
  await removePuts(coordinator);
  await sweepAt(acceptedAt + 2_000_000, coordinator);
  expect(await coordinator.blobs.has(digestOf(bytes))).toBe(false);
});

test.each([100, 1_200_000])(
  "a blob of %i bytes from the version before, without a receipt, goes an hour later",
  async (size) => {
    const coordinator = await mongo(server.uri());
    const [orphan, kept] = [randomBytes(size), randomBytes(size)];
    await coordinator.blobs.put(digestOf(orphan), orphan);
    await accept(coordinator, 1, kept, 1);
    await removePuts(coordinator);
    for (let round = 0; round < 2; round++) await sweepAt(2, coordinator);
    expect(await coordinator.blobs.has(digestOf(orphan))).toBe(true);
    await makeDocumentsOlder(coordinator.connection, YOUNG_BLOB_MS);
    await sweepAt(2, coordinator);
    expect(await coordinator.blobs.has(digestOf(orphan))).toBe(false);
    expect(Buffer.compare((await coordinator.blobs.get(digestOf(kept)))!, kept)).toBe(0);
  },
);

test("a receipt that a crashed coordinator left in its task alone refers to its blob too", async () => {
  const uri = server.uri();
  const { connection, ...crashed } = await mongo(uri);
  const bytes = randomBytes(100);
  const receipt = await accept(crashed, 1, bytes, 1);
  const { store } = await mongo(uri);
  await connection.trip(async ({ tasks, receipts }) => {
    await receipts.deleteMany({});
    await tasks.updateMany({}, { $set: { uncopied: true } });
  });
  expect(await store.referredDigests([digestOf(bytes), hexOf(1, 32)])).toEqual([digestOf(bytes)]);
  expect(await store.receipt(receipt.receiptId)).toEqual(receipt);
});
