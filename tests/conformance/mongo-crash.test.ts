import { MongoConnection } from "@proof-of-compute/coordinator/adapters/mongo/connection";
import { MongoStore } from "@proof-of-compute/coordinator/adapters/mongo/store";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import type { Hex } from "@proof-of-compute/proto";
import { pino } from "pino";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { sharedMongo } from "../support/mongo.ts";
import { deathsIn, MortalConnection } from "../support/mortal-connection.ts";
import { aBatch, aVerifiedTask } from "./fixtures.ts";
import { readAll } from "./snapshot.ts";

const logger = pino({ level: "silent" });
/** No background work, so that the n-th round trip is the same in each run. */
const clock = { every: () => () => undefined };
const LATE = 1_000_000;
const tasks = [1, 2, 3].map((n) => aVerifiedTask(n));
const ids = tasks.map(({ receipt }) => receipt.receiptId).toSorted();
const server = await sharedMongo();

afterAll(() => server.stop());

/** The life of a receipt at a coordinator. After a crash, every call may be repeated. */
const WORK: Record<string, (store: Store) => Promise<unknown>> = {
  "accept results": (store) =>
    Promise.all(
      tasks.map(async ({ queued, running, receipt, verified }, n) => {
        await store.insertTask(queued);
        await store.saveTask(running);
        await store.saveTask(verified, { receipt, output: Uint8Array.of(n) });
      }),
    ),
  "close a batch": async (store) => {
    const [last] = (await store.batches({ limit: 1 })).items;
    const receipts = await store.unbatchedReceipts(2);
    if (receipts.length > 0) await store.insertBatch(aBatch((last?.id ?? 0) + 1, receipts));
  },
  "withdraw it": (store) => store.withdrawBatch(1),
  "close another": (store) => WORK["close a batch"]!(store),
  "quarantine the rest": (store) => store.quarantineReceipts(LATE),
  "release it": async (store) => {
    const quarantined = await readAll((query) => store.receipts({ ...query, quarantined: true }));
    await store.releaseReceipts(quarantined.map(({ receiptId }) => receiptId));
  },
  "forget results": async (store) => store.forgetResults(await store.receiptsWithResult(LATE, 10)),
  "prune tasks": (store) => store.pruneTasks(LATE, 10),
};

async function workThrough(store: Store): Promise<void> {
  for (const step of Object.values(WORK)) await step(store);
}

async function connect(uri: string): Promise<MongoConnection> {
  const connection = new MongoConnection({ logger }, { uri });
  await connection.start();
  return connection;
}

/** The coordinator after a crash: it finishes the work, and settles the remaining receipts. */
async function recover(store: Store): Promise<void> {
  await store.start();
  await store.unbatched();
  const receipts = await readAll((query) => store.receipts(query));
  const copied = new Set<Hex>(receipts.map(({ receiptId }) => receiptId));
  for (const { queued, running, receipt, verified } of tasks) {
    const stored = await store.task(queued.id);
    // Except for pruned tasks, a receipt is stored exactly if its task has it.
    if (stored) expect(copied.has(receipt.receiptId)).toBe(stored.state === "verified");
    if (copied.has(receipt.receiptId)) continue;
    await store.insertTask(queued);
    await store.saveTask(running);
    await store.saveTask(verified, { receipt });
  }
  await WORK["release it"]!(store);
  while ((await store.unbatched()).count > 0) await WORK["close a batch"]!(store);
}

async function checkLedger(store: Store): Promise<void> {
  const receipts = await readAll((query) => store.receipts(query));
  expect(receipts.map(({ receiptId }) => receiptId)).toEqual(ids);
  const batches = (await readAll((query) => store.batches(query))).toReversed();
  expect(batches.map(({ id }) => id)).toEqual(batches.map((_, index) => index + 1));
  const carried: Hex[] = [];
  for (const { id } of batches) {
    const batch = (await store.batch(id))!;
    const named = receipts.filter(({ batchId }) => batchId === id).map(({ receiptId }) => receiptId);
    expect(named).toEqual(batch.receiptIds.toSorted());
    carried.push(...batch.receiptIds);
  }
  expect(carried.toSorted()).toEqual(ids);
  expect(await store.totals()).toMatchObject({
    receipts: ids.length,
    unbatched: { count: 0 },
    quarantined: { count: 0, units: 0n },
    units: { verified: tasks.reduce((sum, { receipt }) => sum + receipt.units, 0n) },
  });
}

/** The round trips of the whole work, counted in an undisturbed run. */
async function countTrips(): Promise<number> {
  const connection = new MortalConnection(await connect(server.uri()), Number.POSITIVE_INFINITY, false);
  const store = new MongoStore({ connection, logger, clock });
  await store.start();
  await workThrough(store);
  await store.stop();
  return connection.trips;
}

describe(`a coordinator killed between round trips to ${server.description}`, async () => {
  const trips = await countTrips();

  test("makes enough round trips to be worth killing", () => {
    expect(trips).toBeGreaterThan(30);
  });

  test.each(deathsIn(trips))(
    `loses and doubles no receipt: trip $trip of ${trips}, done: $afterEffect`,
    async (death) => {
      const uri = server.uri();
      const connection = await connect(uri);
      onTestFinished(() => connection.stop());
      const mortal = new MortalConnection(connection, death.trip, death.afterEffect);
      const doomed = new MongoStore({ connection: mortal, logger, clock });
      const worked = doomed.start().then(() => workThrough(doomed));
      await Promise.race([mortal.died.promise, worked]);
      const heir = new MongoStore({ connection: await connect(uri), logger, clock });
      onTestFinished(() => heir.stop());
      await recover(heir);
      await checkLedger(heir);
    },
  );
});
