/**
 * A process for the tests to kill: `node sqlite-writer.ts <database file> <first number>` settles task after task, many
 * at a time, and prints the number of each on a line once its receipt is durable.
 */

import { SqliteStore } from "@proof-of-compute/coordinator/adapters/sqlite/store";
import { pino } from "pino";
import { aVerifiedTask } from "./fixtures.ts";

const [path, first] = process.argv.slice(2);
const store = new SqliteStore({ logger: pino({ level: "silent" }) }, { path: path! });
await store.start();
process.stdout.write("open\n");

let next = Number(first);
async function settleForever(): Promise<never> {
  for (;;) {
    const n = next++;
    const { queued, running, receipt, verified } = aVerifiedTask(n);
    await store.insertTask(queued);
    await store.saveTask(running);
    await store.saveTask(verified, { receipt, output: Uint8Array.of(n % 251) });
    process.stdout.write(`${n}\n`);
  }
}
await Promise.all(Array.from({ length: 64 }, settleForever));
