import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KINDS } from "@proof-of-compute/coordinator/kinds/index";
import type { TaskView } from "@proof-of-compute/coordinator/rest";
import { Daemon } from "@proof-of-compute/daemon/daemon";
import { newIdentity } from "@proof-of-compute/daemon/identity";
import { MatmulExecutor } from "@proof-of-compute/daemon/kinds/matmul/executor";
import { parseEndpoint } from "@proof-of-compute/daemon/session/endpoint";
import { type Address, fromHex, type Hex, PROOF_OF_COMPUTE_ABI, toHex } from "@proof-of-compute/proto";
import { Verdict } from "@proof-of-compute/proto/node";
import { TaskKind } from "@proof-of-compute/proto/task";
import { Contract, Wallet } from "ethers";
import { pino } from "pino";
import { beforeEach, expect, onTestFinished, type TestContext, test } from "vitest";
import { RestClient } from "../../scripts/local/rest-client.ts";
import { readAll } from "../conformance/snapshot.ts";
import { echoRequest, echo as newKind } from "../support/echo/coordinator.ts";
import { EchoExecutor } from "../support/echo/daemon.ts";
import { type LocalChain, startLocalChain } from "../support/local-chain.ts";
import { mongoOrSkip } from "../support/mongo.ts";
import { ScriptedNode } from "../support/scripted-node.ts";
import { type StartedCoordinator, startTestCoordinator } from "../support/start-coordinator.ts";
import { PATIENCE } from "../support/test-network.ts";

// The next version is this one with one kind more: `echo`. Both work on one store.

/** A node that visits another coordinator has to be back by then, on a busy machine too. */
const LEASE_TIME = "30s";
/** Requests a minute are limited. */
const POLL = { ...PATIENCE, interval: 300 };
const NEXT = KINDS.with(newKind);

let folder: string;
let chain: LocalChain;
let contract: Contract;
let settings: Readonly<Record<string, string>>;

beforeEach(async (context: TestContext) => {
  const mongo = await mongoOrSkip(context);
  folder = await mkdtemp(join(tmpdir(), "proof-of-compute-next-"));
  chain = await startLocalChain();
  onTestFinished(async () => {
    await chain.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  const { address, recorderKey } = await chain.deploy();
  contract = new Contract(address, PROOF_OF_COMPUTE_ABI, chain.provider);
  await writeFile(join(folder, "recorder.key"), recorderKey, { mode: 0o600 });
  settings = {
    MONGODB_URI: mongo.uri(),
    XDC_RPC_URL: chain.url,
    PROOF_OF_COMPUTE_ADDRESS: address,
    RECORDER_KEYSTORE: join(folder, "recorder.key"),
    BATCH_MAX_WAIT: "500ms",
    CHAIN_POLL_INTERVAL: "200ms",
    // Coordinators and daemons share this process: a busy moment of it is no silence of a node.
    HEARTBEAT_INTERVAL: "2s",
    LEASE_TIME,
    RECONNECT_SPREAD: "50ms",
    DRAIN_TIMEOUT: "3s",
  };
});

/** A coordinator of this version, or of the next one; it keeps its name, and its ports once it has some. */
class Running {
  readonly name: string;
  #ports: Record<string, string> = {};
  #running: StartedCoordinator | undefined;

  constructor(name: string) {
    this.name = name;
    onTestFinished(() => this.stop());
  }

  async start(version: "this" | "next"): Promise<this> {
    const own = { COORDINATOR_ID: this.name, DATA_DIR: join(folder, this.name), ...this.#ports };
    const options = version === "next" ? { kinds: NEXT } : {};
    this.#running = await startTestCoordinator({ ...settings, ...own }, options);
    const { grpcPort, httpPort } = this.#running;
    this.#ports = { GRPC_ADDRESS: `127.0.0.1:${grpcPort}`, HTTP_ADDRESS: `127.0.0.1:${httpPort}` };
    return this;
  }

  /** As SIGTERM does. */
  async stop(): Promise<void> {
    await this.#running?.stop();
    this.#running = undefined;
  }

  get store() {
    return this.#running!.store;
  }

  get scheduler() {
    return this.#running!.scheduler;
  }

  get grpcAddress(): string {
    return this.#ports.GRPC_ADDRESS!;
  }

  get origin(): string {
    return `http://${this.#ports.HTTP_ADDRESS!}`;
  }
}

/** Somebody who asks any coordinator for tasks. */
class Requester {
  readonly wallet = new Wallet(Wallet.createRandom().privateKey);
  readonly #client = new RestClient();

  async signIn({ origin }: Running): Promise<this> {
    await this.#client.signIn(origin, this.wallet, this.#signal);
    return this;
  }

  async ask({ origin }: Running, body: object): Promise<Hex> {
    const headers = { "idempotency-key": randomUUID() };
    const request = { signal: this.#signal, body, headers };
    return (await this.#client.json<TaskView>(origin, "POST", "/api/node/dispatch-task", request)).id;
  }

  cancel({ origin }: Running, id: Hex): Promise<TaskView> {
    return this.#client.json(origin, "POST", `/api/tasks/${id}/cancel`, { signal: this.#signal });
  }

  get<T>({ origin }: Running, path: string): Promise<T> {
    return this.#client.json(origin, "GET", path, { signal: this.#signal });
  }

  get #signal(): AbortSignal {
    return AbortSignal.timeout(PATIENCE.timeout);
  }
}

const product = (k: number) => ({ kind: "matmul", matmul: { n: 64, k } });

/** A daemon of the next version, one slot, that dials any of the coordinators. */
async function startDaemon(name: string, coordinators: readonly Running[]): Promise<Address> {
  const wallet = Wallet.createRandom().address as Address;
  const executors = [new MatmulExecutor({ threads: 1 }), new EchoExecutor()];
  const daemon = new Daemon(
    { logger: pino({ level: "silent" }), identity: await newIdentity(), executors },
    {
      wallet,
      coordinators: coordinators.map(({ grpcAddress }) => parseEndpoint(grpcAddress, { insecure: true })),
      slots: 1,
      dataDir: join(folder, name),
      rates: new Map([
        ["matmul", 100_000],
        ["echo", 100_000],
      ]),
      backoff: { baseMs: 50, capMs: 500 },
    },
  );
  await daemon.start();
  onTestFinished(async () => {
    await daemon.stop();
    for (const executor of executors) await executor.stop();
  });
  return wallet;
}

/** Every task has one receipt, no node was blamed, and each wallet has on the chain what its receipts say. */
async function expectPaidOnce({ store }: Running, tasks: readonly Hex[]): Promise<void> {
  const receipts = await readAll((query) => store.receipts(query));
  expect(receipts.map(({ taskId }) => taskId).toSorted()).toEqual(tasks.toSorted());
  const units = new Map<Address, bigint>();
  for (const receipt of receipts) units.set(receipt.provider, (units.get(receipt.provider) ?? 0n) + receipt.units);
  for (const [wallet, sum] of units) expect(await contract.getFunction("computeUnits")(wallet), wallet).toBe(sum);
  const ended = await readEndings(store, tasks);
  for (const { id, wallet } of await readAll((query) => store.nodes(query))) {
    expect((await store.standing(id, wallet))?.faults ?? 0, `${id} was blamed, of ${ended}`).toBe(0);
  }
}

/** How assignments ended without a receipt, to say so when a node was blamed. */
async function readEndings(store: Running["store"], tasks: readonly Hex[]): Promise<string> {
  const read = await Promise.all(tasks.map((id) => store.task(id)));
  const assignments = read.flatMap((task) => Object.values(task!.assignments));
  const lost = assignments.filter(({ state }) => state !== "accepted");
  return lost.map(({ nodeId, state, reason }) => `${nodeId} ${state} ${reason}`).join(", ") || "none";
}

async function expectRecorded(at: Running, requester: Requester, ids: readonly Hex[]): Promise<void> {
  const open = async () => {
    const { items } = await requester.get<{ items: TaskView[] }>(at, "/api/tasks?limit=100");
    expect(items).toHaveLength(ids.length);
    return items.filter(({ state }) => state !== "recorded").map(({ id, kind, state }) => [id, kind, state]);
  };
  await expect.poll(open, POLL).toEqual([]);
}

/** A node of both kinds that says that it lives and otherwise does what the test does. */
async function dial(
  { grpcAddress: address }: Running,
  wallet: Address,
  { running = [], like }: { running?: readonly Uint8Array[]; like?: ScriptedNode } = {},
) {
  const kinds = [TaskKind.TASK_KIND_ECHO, TaskKind.TASK_KIND_MATMUL];
  const identity = like && { privateKey: like.privateKey };
  const node = await new ScriptedNode({ address, wallet, kinds, running, ...identity }).open();
  let current = running;
  const beat = setInterval(() => node.heartbeat(current), 250);
  const leave = () => {
    clearInterval(beat);
    node.drop();
  };
  onTestFinished(leave);
  const assignment = async () => {
    const taken = await node.assignment();
    current = [...current, taken.assignmentId];
    return taken;
  };
  return { node, assignment, leave };
}

test("both versions do their kinds on one store, while coordinators are upgraded and nodes move between them", async () => {
  const first = await new Running("first").start("this");
  const second = await new Running("second").start("this");
  const requester = await new Requester().signIn(first);
  for (const name of ["a", "b"]) await startDaemon(name, [first, second]);
  for (const name of ["c", "d"]) await startDaemon(name, [second, first]);
  const tasks: Hex[] = [];
  const ask = async (at: Running, ...bodies: object[]) => {
    for (const body of bodies) tasks.push(await requester.ask(at, body));
  };
  const echoes = (from: number, count: number) =>
    Array.from({ length: count }, (_, n) => echoRequest(`echo ${from + n}`));
  await ask(first, product(2), product(3), product(4));

  // The settlement leader, the first one, does not know the kind; what the second one gives out is recorded anyway.
  // Nodes that had to leave stay where they are, so the upgraded one gets others.
  await second.stop();
  await second.start("next");
  for (const name of ["e", "f"]) await startDaemon(name, [second, first]);
  expect(await first.store.lockHolder("settlement")).toMatchObject({ coordinatorId: "first" });
  await ask(second, ...echoes(0, 8));
  await ask(first, product(5), product(6), product(7));
  await ask(second, product(8), ...echoes(8, 4), product(9));
  await expectRecorded(first, requester, tasks);
  expect(await first.store.lockHolder("settlement")).toMatchObject({ coordinatorId: "first" });

  // Its nodes have to go to the one that does not know the kind, perhaps with tasks of that kind, and come back when that
  // one is upgraded.
  await ask(second, ...echoes(12, 8));
  await second.stop();
  await ask(first, product(10), product(11));
  await second.start("next");
  await ask(second, ...echoes(20, 4));
  await first.stop();
  await first.start("next");
  await ask(first, ...echoes(24, 4), product(12));
  for (const at of [first, second]) await expectRecorded(at, requester, tasks);
  await expectPaidOnce(first, tasks);
});

test("a coordinator lists, reads, cancels and expires tasks of the next version's kind", async () => {
  const older = await new Running("older").start("this");
  const newer = await new Running("newer").start("next");
  const requester = await new Requester().signIn(older);
  const [cancelled, waiting] = [
    await requester.ask(newer, echoRequest("a")),
    await requester.ask(newer, echoRequest("b")),
  ];
  const spec = { input: fromHex("0x07") };
  const requesterAddress = requester.wallet.address as Address;
  const { task } = await newer.scheduler.submit({ requester: requesterAddress, kind: "echo", spec, deadlineMs: 3_000 });
  await newer.stop();
  const done = await requester.ask(older, product(2));
  const { node, assignment: take, leave } = await dial(older, Wallet.createRandom().address as Address);
  // The node offers both kinds, and this coordinator gives it the one that it knows.
  const assignment = await take();
  expect(toHex(assignment.taskId)).toBe(done);

  const { items } = await requester.get<{ items: TaskView[] }>(older, "/api/tasks");
  expect(items.map(({ id }) => id).toSorted()).toEqual([cancelled, waiting, task.id, done].toSorted());
  for (const id of [cancelled, waiting, task.id]) {
    const view = await requester.get<TaskView>(older, `/api/tasks/${id}`);
    expect(view).toMatchObject({ id, kind: "echo" });
    expect([view.units, "echo" in view]).toEqual([undefined, false]);
  }
  expect(await requester.cancel(older, cancelled)).toMatchObject({ state: "cancelled" });
  const state = async (id: Hex) => (await requester.get<TaskView>(older, `/api/tasks/${id}`)).state;
  await expect.poll(() => state(task.id), POLL).toBe("failed");

  node.sendResults([node.result(assignment, node.solve(assignment))]);
  expect((await node.ack()).verdict).toBe(Verdict.VERDICT_ACCEPTED);
  await expect.poll(() => state(done), POLL).toBe("recorded");
  expect(await state(waiting)).toBe("queued");
  expect(await older.store.totals()).toMatchObject({ tasks: { queued: 1, running: 0, verified: 1 } });

  leave();
  await newer.start("next");
  await startDaemon("a", [newer]);
  await expect.poll(() => state(waiting), POLL).toBe("recorded");
});

test("an assignment of the next version's kind survives its node's visit to a coordinator that does not know it", async () => {
  const older = await new Running("older").start("this");
  const newer = await new Running("newer").start("next");
  const requester = await new Requester().signIn(newer);
  const wallet = Wallet.createRandom().address as Address;
  const before = await dial(newer, wallet);
  const id = await requester.ask(newer, echoRequest("survivor"));
  const assignment = await before.assignment();
  before.leave();

  // It sends its result here, where nobody can judge it: no verdict, no cancel, the session stays open.
  const running = [assignment.assignmentId];
  const visit = await dial(older, wallet, { running, like: before.node });
  const result = visit.node.result(assignment, visit.node.solve(assignment));
  visit.node.sendResults([result]);
  const other = await requester.ask(older, product(2));
  const theirs = await visit.assignment();
  expect(toHex(theirs.taskId)).toBe(other);
  visit.node.sendResults([visit.node.result(theirs, visit.node.solve(theirs))]);
  const ack = await visit.node.ack();
  expect([toHex(ack.assignmentId), ack.verdict]).toEqual([toHex(theirs.assignmentId), Verdict.VERDICT_ACCEPTED]);
  expect((await older.store.task(id))!.assignments[toHex(assignment.assignmentId)]).toMatchObject({ state: "live" });
  visit.leave();

  const after = await dial(newer, wallet, { running, like: before.node });
  after.node.sendResults([result]);
  const verdict = await after.node.ack();
  expect([toHex(verdict.assignmentId), verdict.verdict]).toEqual([
    toHex(assignment.assignmentId),
    Verdict.VERDICT_ACCEPTED,
  ]);
  await expectRecorded(older, requester, [id, other]);
  await expectPaidOnce(newer, [id, other]);
});
