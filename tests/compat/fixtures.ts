import { chmod, cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Address, Hex } from "@proof-of-compute/proto";
import mongoose from "mongoose";
import { onTestFinished } from "vitest";
import type { Frame } from "../support/grpc-tap.ts";
import { mongoOrSkip } from "../support/mongo.ts";

const FIXTURES = join(import.meta.dirname, "fixtures");
const { EJSON } = mongoose.mongo.BSON;

export type FixtureStore = "sqlite" | "mongodb";

/** What is known of a recorded store: who is in it, and which task was in which state. */
export interface Facts {
  readonly version: string;
  readonly chainId: number;
  readonly contract: Address;
  readonly requester: Address;
  readonly requesterKey: Hex;
  readonly wallets: Readonly<Record<"daemon" | "holder" | "resumed" | "last", Address>>;
  /** Nodes that held a live assignment when the coordinator died. */
  readonly holders: readonly { readonly key: string; readonly taskId: Hex; readonly assignmentId: Hex }[];
  readonly tasks: Readonly<
    Record<
      "recorded" | "batched" | "running" | "resumed" | "cancelling" | "unbatched" | "queued" | "failed" | "cancelled",
      readonly Hex[]
    >
  >;
}

export async function readFacts(store: FixtureStore): Promise<Facts> {
  return JSON.parse(await readFile(join(FIXTURES, store, "facts.json"), "utf8"));
}

/** A folder that goes with the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "proof-of-compute-compat-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** Copies a recorded store to where a coordinator finds it; returns its settings. The test skips itself without MongoDB. */
export async function restore(
  store: FixtureStore,
  context: Parameters<typeof mongoOrSkip>[0],
): Promise<{ readonly DATA_DIR: string; readonly MONGODB_URI: string }> {
  const DATA_DIR = join(await temporaryFolder(), "data");
  await mkdir(DATA_DIR, { mode: 0o700 });
  if (store === "mongodb") return { DATA_DIR, MONGODB_URI: await restoreMongo((await mongoOrSkip(context)).uri()) };
  await cp(join(FIXTURES, "sqlite"), DATA_DIR, { recursive: true });
  return { DATA_DIR, MONGODB_URI: "" };
}

async function restoreMongo(uri: string): Promise<string> {
  const client = await new mongoose.mongo.MongoClient(uri).connect();
  const lines = (await readFile(join(FIXTURES, "mongodb", "dump.jsonl"), "utf8")).trimEnd().split("\n");
  for (const line of lines) {
    const { collection, index, document } = EJSON.parse(line, { relaxed: false });
    if (index) await client.db().command({ createIndexes: collection, indexes: [index] });
    else await client.db().collection(collection).insertOne(document);
  }
  await client.close();
  return uri;
}

/** Copies the data directory of a daemon that has results without a verdict; returns where it is. */
export async function restoreDaemon(): Promise<string> {
  const folder = join(await temporaryFolder(), "daemon");
  await cp(join(FIXTURES, "daemon"), folder, { recursive: true });
  // Git keeps no such modes.
  await chmod(folder, 0o700);
  await chmod(join(folder, "node-key.pem"), 0o600);
  return folder;
}

/** The private key of that daemon. */
export function readDaemonKey(): Promise<string> {
  return readFile(join(FIXTURES, "daemon", "node-key.pem"), "utf8");
}

/**
 * Recorded streams of a daemon and a coordinator of the version before, in order: `served`, a session with results small
 * and large, a cancel and an end; `resumed`, a session that broke off with two assignments, and the next one.
 */
export async function readStreams(name: "served" | "resumed"): Promise<Frame[][]> {
  const streams: [Frame["from"], string][][] = JSON.parse(
    await readFile(join(FIXTURES, "frames", `${name}.json`), "utf8"),
  );
  return streams.map((stream) => stream.map(([from, base64]) => ({ from, bytes: Buffer.from(base64, "base64") })));
}

/** Folder of the proto files of the version before. */
export const PROTO = join(FIXTURES, "proto");

/** Folder of receipts, results by receipt, and the list of batch 1, as the version before served them. */
export const RECEIPTS = join(FIXTURES, "receipts");
