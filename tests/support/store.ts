import { createHash } from "node:crypto";
import { type OpenStore, openStore } from "@proof-of-compute/coordinator/compose/open-store";
import { pino } from "pino";
import { sharedMongo } from "./mongo.ts";

/** The store of the tests' coordinators: SQLite, or MongoDB with `npm test -- --store mongodb`. */
export const TEST_STORE = process.env.TEST_STORE === "mongodb" ? "mongodb" : "sqlite";

/**
 * Settings of the store for a coordinator with this data folder. On MongoDB each folder has its database, so that
 * coordinators with the same folder find the same data. An empty URI means SQLite, whatever MongoDB the machine has.
 */
export async function storeSettings(dataDir: string): Promise<{ readonly MONGODB_URI: string }> {
  if (TEST_STORE === "sqlite") return { MONGODB_URI: "" };
  // As long as the names that the test servers generate.
  const name = `test_${createHash("sha256").update(dataDir).digest("hex").slice(0, 16)}`;
  return { MONGODB_URI: (await sharedMongo()).uri(name) };
}

/** Opens the store of a coordinator with this data folder. */
export async function openTestStore(dataDir: string): Promise<OpenStore> {
  const { MONGODB_URI } = await storeSettings(dataDir);
  return openStore({ DATA_DIR: dataDir, MONGODB_URI: MONGODB_URI || undefined }, pino({ level: "silent" }));
}
