import { createHash } from "node:crypto";
import { type OpenStore, openStore } from "@proof-of-compute/coordinator/compose/open-store";
import { pino } from "pino";
import { sharedMongo } from "./mongo.ts";

/** Where the coordinators of the tests keep what they know: SQLite, or with `npm test -- --store mongodb` MongoDB. */
export const TEST_STORE = process.env.TEST_STORE === "mongodb" ? "mongodb" : "sqlite";

/**
 * Settings of the store for a coordinator with this data folder. On MongoDB a folder stands for a database, so that who
 * starts with the same folder finds the same data. Empty means SQLite, whatever MongoDB the machine has.
 */
export async function storeSettings(dataDir: string): Promise<{ readonly MONGODB_URI: string }> {
  if (TEST_STORE === "sqlite") return { MONGODB_URI: "" };
  // Of the length of the names that servers make up themselves.
  const name = `test_${createHash("sha256").update(dataDir).digest("hex").slice(0, 16)}`;
  return { MONGODB_URI: (await sharedMongo()).uri(name) };
}

/** Opens what a coordinator with this data folder left. */
export async function openTestStore(dataDir: string): Promise<OpenStore> {
  const { MONGODB_URI } = await storeSettings(dataDir);
  return openStore({ DATA_DIR: dataDir, MONGODB_URI: MONGODB_URI || undefined }, pino({ level: "silent" }));
}
