import { randomBytes } from "node:crypto";
import { MongoBlobs } from "@proof-of-compute/coordinator/adapters/mongo/blobs";
import { MongoConnection } from "@proof-of-compute/coordinator/adapters/mongo/connection";
import { MongoStore } from "@proof-of-compute/coordinator/adapters/mongo/store";
import { systemClock } from "@proof-of-compute/coordinator/adapters/system-clock";
import { YOUNG_BLOB_MS } from "@proof-of-compute/coordinator/ports/blobs";
import type { Clock } from "@proof-of-compute/coordinator/ports/clock";
import { pino } from "pino";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { makeDocumentsOlder } from "../support/blobs.ts";
import { sharedMongo } from "../support/mongo.ts";
import { type Connection, deathsIn, MortalConnection } from "../support/mortal-connection.ts";
import { accept, missingBlobs, RETENTION_MS, sweepAt } from "./results.ts";

const logger = pino({ level: "silent" });
/** No background work, so that the n-th round trip is the same in each run. */
const idle = { every: () => () => undefined };
const later = { now: () => Date.now() + 2 * YOUNG_BLOB_MS };
const server = await sharedMongo();
const [small, large] = [randomBytes(100), randomBytes(1_200_000)];

afterAll(() => server.stop());

async function connect(uri: string): Promise<MongoConnection> {
  const connection = new MongoConnection({ logger }, { uri });
  await connection.start();
  onTestFinished(() => connection.stop());
  return connection;
}

function coordinator(connection: Connection, clock: Pick<Clock, "now"> = systemClock) {
  return {
    store: new MongoStore({ connection, logger, clock: idle }),
    blobs: new MongoBlobs({ connection, clock }),
  };
}

/** Accepts results, equal ones too, and forgets the first of them. */
async function work(doomed: ReturnType<typeof coordinator>, connection: MongoConnection): Promise<void> {
  await doomed.store.start();
  let n = 0;
  for (const acceptedAt of [1, 1_000]) {
    for (const bytes of [small, large]) await accept(doomed, n++, bytes, acceptedAt);
  }
  await makeDocumentsOlder(connection, YOUNG_BLOB_MS);
  for (const acceptedAt of [1, 1_000]) await sweepAt(acceptedAt + RETENTION_MS + 1, doomed);
}

async function countTrips(): Promise<number> {
  const connection = new MongoConnection({ logger }, { uri: server.uri() });
  await connection.start();
  const mortal = new MortalConnection(connection, Number.POSITIVE_INFINITY, false);
  const worker = coordinator(mortal);
  await work(worker, connection);
  await worker.store.stop();
  return mortal.trips;
}

describe(`a coordinator killed between round trips to ${server.description}`, async () => {
  const trips = await countTrips();

  test("makes enough round trips to be worth killing", () => {
    expect(trips).toBeGreaterThan(40);
  });

  test.each(deathsIn(trips))(
    `leaves no result missing and no blob for ever: trip $trip of ${trips}, done: $afterEffect`,
    async (death) => {
      const uri = server.uri();
      const connection = await connect(uri);
      const mortal = new MortalConnection(connection, death.trip, death.afterEffect);
      await Promise.race([mortal.died.promise, work(coordinator(mortal), connection)]);
      const heir = coordinator(await connect(uri), later);
      await heir.store.start();
      onTestFinished(() => heir.store.stop());
      await heir.store.unbatchedReceipts(0);
      expect(await missingBlobs(heir)).toEqual([]);
      // What a crash left is young for an hour; then nothing refers to anything.
      await sweepAt(2, heir);
      await makeDocumentsOlder(connection, YOUNG_BLOB_MS);
      await sweepAt(1_001 + RETENTION_MS, heir);
      const left = await connection.trip(async ({ blobs, file_entries, file_chunks }) =>
        Promise.all([blobs, file_entries, file_chunks].map((each) => each.countDocuments())),
      );
      expect(left).toEqual([0, 0, 0]);
    },
  );
});
