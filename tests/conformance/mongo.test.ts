import { MongoBlobs } from "@proof-of-compute/coordinator/adapters/mongo/blobs";
import { MongoConnection } from "@proof-of-compute/coordinator/adapters/mongo/connection";
import { MongoStore } from "@proof-of-compute/coordinator/adapters/mongo/store";
import { pino } from "pino";
import { afterAll, onTestFinished } from "vitest";
import { makeDocumentsOlder } from "../support/blobs.ts";
import { sharedMongo } from "../support/mongo.ts";
import { describeBlobs } from "./blobs.ts";
import { describeStore } from "./store.ts";

const logger = pino({ level: "silent" });
const server = await sharedMongo();

afterAll(() => server.stop());

function connect(uri: string): MongoConnection {
  return new MongoConnection({ logger }, { uri });
}

describeStore(`MongoStore on ${server.description}`, async () => {
  const uri = server.uri();
  const opened: MongoStore[] = [];
  const open = async () => {
    const store = new MongoStore({ connection: connect(uri), logger });
    opened.push(store);
    await store.start();
    return store;
  };
  onTestFinished(async () => {
    for (const store of opened) await store.stop();
  });
  const store = await open();
  const reopen = async () => {
    await store.stop();
    return open();
  };
  return { store, reopen, another: open };
});

describeBlobs(`MongoBlobs on ${server.description}`, async () => {
  const uri = server.uri();
  const open = async () => {
    const connection = connect(uri);
    await connection.start();
    onTestFinished(() => connection.stop());
    return connection;
  };
  const connection = await open();
  return {
    blobs: new MongoBlobs({ connection }),
    reopen: async () => new MongoBlobs({ connection: await open() }),
    makeOlder: (ms) => makeDocumentsOlder(connection, ms),
  };
});
