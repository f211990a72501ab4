/**
 * `node tests/compat/record.ts`: makes tests/compat/fixtures anew, by running the programs of the version before
 * (tests/support/versions.ts names it). fixtures/README.md says what is in them.
 */
import { copyFile, cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import { type Address, type Hex, toHex } from "@proof-of-compute/proto";
import { CoordinatorFrame, NodeFrame } from "@proof-of-compute/proto/node";
import { Wallet } from "ethers";
import mongoose from "mongoose";
import { pino } from "pino";
import { RestClient } from "../../scripts/local/rest-client.ts";
import { GrpcTap } from "../support/grpc-tap.ts";
import { type LocalChain, startLocalChain } from "../support/local-chain.ts";
import { type MongoServer, startMongo } from "../support/mongo.ts";
import { freePort, Program } from "../support/process.ts";
import { ScriptedNode } from "../support/scripted-node.ts";
import { checkOut, PREVIOUS } from "../support/versions.ts";

const FIXTURES = join(import.meta.dirname, "fixtures");
const { EJSON } = mongoose.mongo.BSON;
const logger = pino({ level: "silent" });
/** Longer than everything between the last receipt and the end. */
const BATCH_MAX_WAIT_S = 15;
const PATIENCE_MS = 60_000;

const root = await checkOut(PREVIOUS);
const log = (text: string) => console.log(text);

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look().catch(() => undefined);
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`it took too long: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface TaskView {
  readonly id: Hex;
  readonly state: string;
  readonly receiptId?: Hex;
}

/** Asks the version before for tasks, in its own form. */
class Requester {
  readonly wallet = new Wallet(Wallet.createRandom().privateKey);
  readonly #client = new RestClient();
  readonly #origin: string;

  constructor(origin: string) {
    this.#origin = origin;
  }

  get #signal(): AbortSignal {
    return AbortSignal.timeout(PATIENCE_MS);
  }

  signIn(): Promise<void> {
    return this.#client.signIn(this.#origin, this.wallet, this.#signal);
  }

  dispatch(n: number, k: number, more: { key?: string; deadlineSeconds?: number } = {}): Promise<TaskView> {
    const { key = crypto.randomUUID(), ...rest } = more;
    return this.#client.json(this.#origin, "POST", "/api/node/dispatch-task", {
      signal: this.#signal,
      body: { kind: "matmul", n, k, ...rest },
      headers: { "idempotency-key": key },
    });
  }

  cancel(id: Hex): Promise<TaskView> {
    return this.#client.json(this.#origin, "POST", `/api/tasks/${id}/cancel`, { signal: this.#signal });
  }

  async get<T>(path: string): Promise<T> {
    return this.#client.json(this.#origin, "GET", path, { signal: this.#signal });
  }

  async bytes(path: string): Promise<Buffer> {
    const response = await this.#client.fetch(this.#origin, "GET", path, { signal: this.#signal });
    return Buffer.from(await response.arrayBuffer());
  }

  async inState(id: Hex, ...states: string[]): Promise<TaskView> {
    return until(`${id} is ${states}`, async () => {
      const task = await this.get<TaskView>(`/api/tasks/${id}`);
      return states.includes(task.state) && task;
    });
  }
}

/** A coordinator of the version before over an empty store, with a chain. */
class Old {
  readonly chain: LocalChain;
  readonly contract: Address;
  readonly folder: string;
  readonly grpcAddress: string;
  readonly tap: GrpcTap;
  readonly requester: Requester;
  readonly #coordinator: Program;
  readonly #programs: Program[] = [];

  private constructor(
    init: Pick<Old, "chain" | "contract" | "folder" | "grpcAddress" | "tap" | "requester"> & { coordinator: Program },
  ) {
    ({
      chain: this.chain,
      contract: this.contract,
      folder: this.folder,
      grpcAddress: this.grpcAddress,
      tap: this.tap,
      requester: this.requester,
    } = init);
    this.#coordinator = init.coordinator;
  }

  static async start(mongoUri: string): Promise<Old> {
    const chain = await startLocalChain();
    const { address: contract, recorderKey } = await chain.deploy();
    const folder = await mkdtemp(join(tmpdir(), "proof-of-compute-record-"));
    await writeFile(join(folder, "recorder.key"), recorderKey, { mode: 0o600 });
    const grpcAddress = `127.0.0.1:${await freePort()}`;
    const httpAddress = `127.0.0.1:${await freePort()}`;
    const tap = new GrpcTap(grpcAddress);
    await tap.start();
    const coordinator = new Program(
      "coordinator/src/main.ts",
      [],
      {
        MONGODB_URI: mongoUri,
        COORDINATOR_ID: "before",
        GRPC_ADDRESS: grpcAddress,
        GRPC_AUDIENCES: `${grpcAddress},${tap.address}`,
        HTTP_ADDRESS: httpAddress,
        DATA_DIR: join(folder, "coordinator"),
        XDC_RPC_URL: chain.url,
        PROOF_OF_COMPUTE_ADDRESS: contract,
        RECORDER_KEYSTORE: join(folder, "recorder.key"),
        BATCH_MAX_WAIT: `${BATCH_MAX_WAIT_S}s`,
        CHAIN_POLL_INTERVAL: "200ms",
        HEARTBEAT_INTERVAL: "500ms",
        RECONNECT_SPREAD: "100ms",
        // Whoever reads the fixtures lives later.
        TASK_DEADLINE: "36500d",
      },
      { root, log: join(folder, "coordinator.log") },
    );
    coordinator.start();
    const origin = `http://${httpAddress}`;
    await until("the coordinator answers", async () => {
      coordinator.assertAlive();
      return (await fetch(`${origin}/healthz`)).ok;
    });
    const requester = new Requester(origin);
    await requester.signIn();
    return new Old({ chain, contract, folder, grpcAddress, tap, requester, coordinator });
  }

  dataDir(name: string): string {
    return join(this.folder, name);
  }

  daemon(name: string, wallet: Address, slots: number): Program {
    const flags = ["--coordinator", this.tap.address, "--data-dir", this.dataDir(name), "--slots", `${slots}`];
    const program = new Program(
      "daemon/src/main.ts",
      [...flags, "--wallet-address", wallet, "--log", "json", "--rpc-url", this.chain.url],
      {},
      { root, log: join(this.folder, `${name}.log`) },
    );
    program.start();
    this.#programs.push(program);
    return program;
  }

  /** What its programs said last, for somebody who looks for a mistake in this script. */
  get lastLines(): string {
    return [this.#coordinator, ...this.#programs].map(({ lastLines }) => lastLines).join("\n\n");
  }

  kill(): Promise<number | null> {
    return this.#coordinator.end("SIGKILL");
  }

  async stop(): Promise<void> {
    for (const program of [...this.#programs, this.#coordinator]) await program.end("SIGKILL");
    this.tap.stop();
    await this.chain.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

const wallet = () => Wallet.createRandom().address as Address;

/** Takes a network of the version before through every state of a task, and leaves it as a crash does. */
async function live(old: Old) {
  return pass(old).catch((error: unknown) => {
    console.error(old.lastLines);
    throw error;
  });
}

async function pass(old: Old) {
  const { requester, tap, chain } = old;

  log("results recorded in batch 1, an output inline and one as a blob");
  const wallets = { daemon: wallet(), holder: wallet(), resumed: wallet(), last: wallet() };
  const daemon = old.daemon("daemon", wallets.daemon, 2);
  const recorded = await Promise.all([
    requester.dispatch(64, 2, { key: "recorded" }),
    requester.dispatch(128, 3),
    requester.dispatch(320, 2),
  ]);
  for (const { id } of recorded) await requester.inState(id, "recorded");
  const receipts: { id: Hex; file: Buffer; result: Buffer }[] = [];
  for (const { id } of recorded) {
    const { receiptId } = await requester.inState(id, "recorded");
    const file = await requester.bytes(`/api/receipts/${receiptId}`);
    receipts.push({ id: receiptId!, file, result: await requester.bytes(`/api/receipts/${receiptId}/result`) });
  }
  const batch = await requester.bytes("/api/batches/1/receipts");

  log("a running task is cancelled at a daemon");
  const cancelledRunning = await requester.dispatch(4096, 64);
  await requester.inState(cancelledRunning.id, "running");
  await until("the daemon took it", async () => tap.streams[0]!.some(isNode("progress")));
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await requester.cancel(cancelledRunning.id);
  await requester.inState(cancelledRunning.id, "cancelled");

  log("results in batch 2, which no block includes");
  await chain.provider.send("evm_setAutomine", [false]);
  const batched = await Promise.all([requester.dispatch(64, 2), requester.dispatch(64, 4)]);
  for (const { id } of batched) await requester.inState(id, "batched", "verified");
  await until("batch 2 is closed", async () => {
    const { items } = await requester.get<{ items: { id: number; transaction?: string }[] }>("/api/batches?limit=1");
    return items[0]?.id === 2 && items[0].transaction !== undefined;
  });
  await daemon.end("SIGTERM");
  const served = tap.streams.length;

  log("a daemon that earns the right to two tasks at once");
  old.daemon("resumed", wallets.resumed, 2);
  const earned = await requester.dispatch(64, 2);
  await requester.inState(earned.id, "verified", "batched");

  log("its next two results do not get through");
  tap.holds = ({ from, bytes }) => {
    const kind = from === "node" ? NodeFrame.decode(bytes).message?.$case : undefined;
    return kind === "results" || kind === "outputChunk";
  };
  // A small result is its assignment's only answer, and an assignment without an answer is withdrawn.
  tap.answers = ({ from, bytes }) => {
    const message = from === "coordinator" ? CoordinatorFrame.decode(bytes).message : undefined;
    if (message?.$case !== "assignments") return [];
    return message.value.assignments.map(({ assignmentId }) =>
      NodeFrame.encode({ message: { $case: "progress", value: { assignmentId, fraction: 0 } } }).finish(),
    );
  };
  const resumed = await Promise.all([requester.dispatch(64, 3), requester.dispatch(320, 2)]);
  for (const { id } of resumed) await requester.inState(id, "running");
  await until("both results are on their way", async () => tap.streams.at(-1)!.filter(isNode("results")).length >= 2);
  tap.drop();
  await until("the daemon is back and sends them again", async () => {
    return tap.streams.length === served + 2 && tap.streams.at(-1)!.filter(isNode("results")).length >= 2;
  });
  for (const { id } of resumed) await requester.inState(id, "running");

  log("two nodes that hold one task each, one of which is being cancelled");
  const holders = [await holder(old, wallets.holder), await holder(old, wallets.holder)];
  const held = [await requester.dispatch(64, 5), await requester.dispatch(64, 6)];
  for (const { id } of held) await requester.inState(id, "running");
  await requester.cancel(held[1]!.id);

  log("two nodes for the last receipts hold one task each");
  const last = [await holder(old, wallets.last), await holder(old, wallets.last)];
  const unbatched = [await requester.dispatch(64, 2), await requester.dispatch(64, 2)];
  for (const { id } of unbatched) await requester.inState(id, "running");
  // So that they get nothing after it.
  for (const { node } of last) node.send({ $case: "draining", value: { reason: "recorded" } });

  log("tasks that wait, one that is cancelled and one whose deadline passes");
  const failed = await requester.dispatch(64, 2, { deadlineSeconds: 10 });
  const cancelled = await requester.dispatch(64, 2);
  await requester.cancel(cancelled.id);
  const queued = [await requester.dispatch(64, 7, { key: "queued" }), await requester.dispatch(320, 2)];
  await requester.inState(failed.id, "failed");

  log("the last receipts, which no batch has when the coordinator dies");
  const acceptedAt: number[] = [];
  for (const { node, assignment } of last) {
    node.sendResults([node.result(await assignment, node.solve(await assignment))]);
    await node.ack();
    acceptedAt.push(Date.now());
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await old.kill();
  for (const { stop } of [...holders, ...last]) stop();
  const pem = (node: ScriptedNode) => node.privateKey.export({ format: "pem", type: "pkcs8" }) as string;
  const ids = (tasks: readonly TaskView[]) => tasks.map(({ id }) => id);
  return {
    receipts,
    batch,
    streams: { served: tap.streams.slice(0, served), resumed: tap.streams.slice(served) },
    quarantineBefore: Math.round((acceptedAt[0]! + acceptedAt[1]!) / 2),
    facts: {
      version: PREVIOUS,
      chainId: chain.chainId,
      contract: old.contract,
      requester: requester.wallet.address,
      requesterKey: requester.wallet.privateKey,
      wallets,
      holders: await Promise.all(
        holders.map(async ({ node, assignment }) => ({
          key: pem(node),
          taskId: toHex((await assignment).taskId),
          assignmentId: toHex((await assignment).assignmentId),
        })),
      ),
      tasks: {
        recorded: ids(recorded),
        batched: ids([...batched, earned]),
        running: ids([...resumed, held[0]!]),
        resumed: ids(resumed),
        cancelling: ids([held[1]!]),
        unbatched: ids(unbatched),
        queued: ids(queued),
        failed: ids([failed]),
        cancelled: ids([cancelledRunning, cancelled]),
      },
    },
  };
}

/** A node that takes one assignment, says that it lives, and does nothing else. */
async function holder(old: Old, wallet: Address) {
  const node = new ScriptedNode({ address: old.grpcAddress, wallet, unitsPerSecond: 1_000n });
  node.ended.catch(() => {});
  await node.open();
  let running: Uint8Array[] = [];
  const beat = setInterval(() => node.heartbeat(running), 250);
  const assignment = node.assignment();
  assignment.then(
    ({ assignmentId }) => {
      running = [assignmentId];
    },
    () => {},
  );
  const stop = () => {
    clearInterval(beat);
    node.drop();
  };
  return { node, assignment, stop };
}

function isNode(kind: string) {
  return ({ from, bytes }: { from: string; bytes: Buffer }) =>
    from === "node" && NodeFrame.decode(bytes).message?.$case === kind;
}

/** A module of the version before. */
const old = (path: string) => import(pathToFileURL(join(root, path)).href);

/** Puts receipts into quarantine, and leaves some that no batch carries. */
async function quarantine(store: Pick<Store, "quarantineReceipts" | "unbatched">, before: number): Promise<void> {
  const count = await store.quarantineReceipts(before);
  const free = (await store.unbatched()).count;
  if (count === 0 || free === 0) throw new Error(`${count} receipts are in quarantine and ${free} are free`);
}

async function recordSqlite(): Promise<void> {
  const network = await Old.start("");
  try {
    const { facts, receipts, batch, streams, quarantineBefore } = await live(network);
    const data = network.dataDir("coordinator");
    const path = join(data, "coordinator.sqlite");
    const { SqliteStore } = await old("coordinator/src/adapters/sqlite/store.ts");
    const store = new SqliteStore({ logger }, { path });
    await store.start();
    await quarantine(store, quarantineBefore);
    await store.stop();
    const database = new DatabaseSync(path);
    database.exec("PRAGMA journal_mode = DELETE; VACUUM");
    database.close();
    await replace(join(FIXTURES, "sqlite"), async (folder) => {
      await copyFile(path, join(folder, "coordinator.sqlite"));
      await cp(join(data, "blobs"), join(folder, "blobs"), { recursive: true });
      await rm(join(folder, "blobs", "incoming"), { recursive: true, force: true });
      await writeJson(join(folder, "facts.json"), facts);
    });
    await replace(join(FIXTURES, "receipts"), async (folder) => {
      for (const { id, file, result } of receipts) {
        await writeFile(join(folder, `${id}.json`), file);
        await writeFile(join(folder, `${id}.bin`), result);
      }
      await writeFile(join(folder, "batch-1.jsonl"), batch);
    });
    await replace(join(FIXTURES, "frames"), async (folder) => {
      for (const [name, some] of Object.entries(streams)) {
        const frames = some.map((stream) => stream.map(({ from, bytes }) => [from, bytes.toString("base64")]));
        await writeFile(join(folder, `${name}.json`), `[\n${frames.map(toLines).join(",\n")}\n]\n`);
      }
    });
    await replace(join(FIXTURES, "daemon"), async (folder) => {
      await cp(network.dataDir("resumed"), folder, { recursive: true });
      await rm(join(folder, "lock"), { force: true });
    });
    await replace(join(FIXTURES, "proto"), (folder) =>
      cp(join(root, "proto/proofofcompute"), join(folder, "proofofcompute"), { recursive: true }),
    );
  } finally {
    await network.stop();
  }
}

async function recordMongo(server: MongoServer): Promise<void> {
  const uri = server.uri();
  const network = await Old.start(uri);
  try {
    const { facts, quarantineBefore } = await live(network);
    const [{ MongoConnection }, { MongoStore }] = await Promise.all([
      old("coordinator/src/adapters/mongo/connection.ts"),
      old("coordinator/src/adapters/mongo/store.ts"),
    ]);
    const store = new MongoStore({ connection: new MongoConnection({ logger }, { uri }), logger });
    await store.start();
    await quarantine(store, quarantineBefore);
    await store.stop();
    await replace(join(FIXTURES, "mongodb"), async (folder) => {
      await writeFile(join(folder, "dump.jsonl"), await dump(uri));
      await writeJson(join(folder, "facts.json"), facts);
    });
  } finally {
    await network.stop();
  }
}

/** Every document, an index of each collection before, as lines of canonical EJSON. */
async function dump(uri: string): Promise<string> {
  const client = await new mongoose.mongo.MongoClient(uri).connect();
  const lines: string[] = [];
  for (const { name } of (await client.db().listCollections().toArray()).toSorted((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    const collection = client.db().collection(name);
    const indexes = (await collection.listIndexes().toArray()).filter(({ key }) => !isDeepStrictEqual(key, { _id: 1 }));
    for (const { v: _, ...index } of indexes)
      lines.push(EJSON.stringify({ collection: name, index }, { relaxed: false }));
    for (const document of await collection.find({}, { promoteValues: false }).sort({ _id: 1 }).toArray()) {
      lines.push(EJSON.stringify({ collection: name, document }, { relaxed: false }));
    }
  }
  await client.close();
  return `${lines.join("\n")}\n`;
}

function toLines(frames: readonly (readonly string[])[]): string {
  return `  [\n${frames.map((frame) => `    ${JSON.stringify(frame)}`).join(",\n")}\n  ]`;
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Fills a folder anew. */
async function replace(folder: string, fill: (folder: string) => Promise<unknown>): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await fill(folder);
  log(`  ${folder}: ${(await readdir(folder)).join(" ")}`);
}

const only = process.argv[2];
if (only !== "mongodb") await recordSqlite();
if (only !== "sqlite") {
  const server = await startMongo();
  try {
    await recordMongo(server);
  } finally {
    await server.stop();
  }
}
process.exit(0);
