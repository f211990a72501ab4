import { type Address, addressFromBytes, type Hex, receiptTree, type TaskKindName } from "@proof-of-compute/proto";
import { aReceipt, assigned, aTask, hexOf } from "@proof-of-compute/tests/conformance/fixtures";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MemoryChain } from "../../adapters/memory/chain.ts";
import { MemoryStore } from "../../adapters/memory/store.ts";
import { type Batch, leafOf } from "../../domain/batch.ts";
import { ComputeError } from "../../domain/errors.ts";
import type { Owner } from "../../domain/owner.ts";
import type { Receipt } from "../../domain/receipt.ts";
import { accept } from "../../domain/task.ts";
import { ContractRefusal } from "../../ports/chain.ts";
import { Settlement, type SettlementInit } from "./settlement.ts";

const ALICE: Address = addressFromBytes(new Uint8Array(20).fill(0xa1));
const BOB: Address = addressFromBytes(new Uint8Array(20).fill(0xb0));
const CONTRACT: Address = addressFromBytes(new Uint8Array(20).fill(0xcc));
const RECORDER: Address = addressFromBytes(new Uint8Array(20).fill(0xde));
const OTHER_ROOT = hexOf(404, 32);
const INIT: SettlementInit = { maxReceipts: 100, maxProviders: 10, maxWaitMs: 1_000, pollMs: 100, resendMs: 5_000 };
const LAG = 2;

let clock: ManualClock;
let store: MemoryStore;
let chain: MemoryChain;
let settlements: Settlement[];
let gone: Set<string>;
let tasks: number;
/** Every change that a settlement told of: "1 closed", "1 included", … */
let changes: string[];
let logged: { readonly level: number; readonly msg: string; readonly reason?: string }[];

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryStore();
  await store.start();
  chain = new MemoryChain({ chainId: 51, contract: CONTRACT, recorder: RECORDER, lag: LAG });
  settlements = [];
  gone = new Set();
  tasks = 0;
  changes = [];
  logged = [];
});
afterEach(async () => {
  await Promise.all(settlements.map((settlement) => settlement.stop()));
  expect(clock.pending).toBe(0);
});

/** A settlement of a coordinator of that name, started. */
async function settle(
  init: Partial<SettlementInit> = {},
  name = "first",
  on: MemoryChain = chain,
): Promise<Settlement> {
  const self: Owner = { coordinatorId: name, incarnation: hexOf(settlements.length) };
  const settlement = new Settlement(
    {
      store,
      chain: on,
      clock,
      peers: { self, isAlive: ({ coordinatorId }) => !gone.has(coordinatorId) },
      logger: pino({}, { write: (line: string) => void logged.push(JSON.parse(line)) }),
      trees: { root: async (receipts) => receiptTree(receipts.map(leafOf)).root },
      onChange: ({ id, state }: Batch) => void changes.push(`${id} ${state}`),
    },
    { ...INIT, ...init },
  );
  settlements.push(settlement);
  await settlement.start();
  await run(0);
  return settlement;
}

/** Stores a verified task for each wallet, with its receipt, accepted now. */
async function verify(wallets: readonly Address[], change: Partial<Receipt> = {}): Promise<Receipt[]> {
  return Promise.all(
    wallets.map(async (provider) => {
      const queued = aTask(tasks, { createdAt: clock.now() });
      const running = assigned(queued, hexOf(1_000 + tasks++));
      const receipt = aReceipt(running, Object.keys(running.assignments)[0] as Hex, {
        provider,
        acceptedAt: clock.now(),
        ...change,
      });
      await store.insertTask(queued);
      await store.saveTask(running);
      await store.saveTask(accept(running, receipt), { receipt });
      return receipt;
    }),
  );
}

/** Lets time pass, in steps short enough for every look at the chain. */
async function run(ms: number): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await clock.run(ms, INIT.pollMs / 2);
}

const warnings = () => logged.filter(({ level }) => level >= 40).map(({ msg, reason }) => [msg, reason]);
const batchStates = async () => (await store.batches({ limit: 20 })).items.map(({ id, state }) => `${id} ${state}`);

/** Fails a request as an RPC that is away does. */
function unavailable(message = "the RPC failed: connection refused"): never {
  throw new ComputeError("UNAVAILABLE", message);
}

describe("a batch", () => {
  test("closes, is included, and is recorded once the final block holds it", async () => {
    const settlement = await settle();
    expect(settlement.status()).toMatchObject({ state: "running", openBatches: 0, recorder: RECORDER });
    const receipts = await verify([ALICE, BOB, ALICE]);
    settlement.nudge();
    await run(INIT.maxWaitMs);
    expect(await store.batch(1)).toMatchObject({ units: 15n, state: "included", transaction: chain.sent[0]!.hash });
    expect(new Set((await store.batch(1))!.receiptIds)).toEqual(new Set(receipts.map(({ receiptId }) => receiptId)));
    expect(settlement.status()).toMatchObject({ state: "running", openBatches: 1 });
    chain.mine(LAG - 1);
    await run(500);
    expect(changes).toEqual(["1 closed", "1 included"]);
    chain.mine(1);
    await run(500);
    expect(changes).toEqual(["1 closed", "1 included", "1 recorded"]);
    expect(settlement.status()).toMatchObject({ state: "running", openBatches: 0, lastRecorded: 1 });
    expect([await chain.computeUnits(ALICE), await chain.computeUnits(BOB)]).toEqual([10n, 5n]);
    expect([chain.sent.length, warnings()]).toEqual([1, []]);
  });

  test("holds as many wallets as a transaction has room for; the others come in the next", async () => {
    await verify([ALICE, BOB, RECORDER, CONTRACT, ALICE]);
    await settle({ maxProviders: 2 });
    await run(3_000);
    const { items } = await store.batches({ limit: 9 });
    expect(items.map(({ credits }) => credits.length)).toEqual([1, 2, 2]);
    expect(await chain.computeUnits(ALICE)).toBe(10n);
  });

  test("is sent only when the head holds the one before", async () => {
    chain.autoMine = false;
    await verify([ALICE, BOB]);
    await settle({ maxProviders: 1 });
    await run(1_000);
    expect(await batchStates()).toEqual(["1 closed"]);
    chain.mine();
    await run(500);
    expect(await batchStates()).toEqual(["2 closed", "1 included"]);
    expect(chain.sent.map(({ nonce }) => nonce)).toEqual([0, 1]);
  });

  test("is replaced under the same nonce for more when it is not included in time, and not before", async () => {
    chain.autoMine = false;
    await verify([ALICE]);
    await settle({ maxWaitMs: 0 });
    await run(INIT.resendMs - 200);
    expect(chain.sent).toHaveLength(1);
    await run(400);
    expect(chain.sent).toHaveLength(2);
    const [first, second] = chain.sent;
    expect(second!.nonce).toBe(first!.nonce);
    expect(second!.feePerGas).toBeGreaterThan(first!.feePerGas);
    chain.mine(1 + LAG);
    await run(500);
    expect(await store.batch(1)).toMatchObject({ state: "recorded", transaction: second!.hash });
  });

  test("that a reorg takes back is sent again, once", async () => {
    const settlement = await settle({ maxWaitMs: 0 });
    const reorganise = chain.mark();
    await verify([ALICE]);
    settlement.nudge();
    await run(500);
    expect(changes).toEqual(["1 closed", "1 included"]);
    reorganise();
    await run(500);
    expect(changes).toEqual(["1 closed", "1 included", "1 closed", "1 included"]);
    expect(warnings()).toEqual([["batch dropped by a reorg; sending it again", undefined]]);
    chain.mine(LAG);
    await run(500);
    expect([chain.sent.length, await batchStates()]).toEqual([2, ["1 recorded"]]);
    expect(await chain.computeUnits(ALICE)).toBe(5n);
  });

  test("that a wiped chain has lost is sent again in order, recorded or not", async () => {
    const wipe = chain.mark();
    await verify([ALICE, BOB, CONTRACT]);
    const settlement = await settle({ maxProviders: 1 });
    await run(1_000);
    chain.mine(LAG);
    await run(500);
    expect(settlement.status()).toMatchObject({ lastRecorded: 3, openBatches: 0 });
    wipe();
    await run(1_500);
    chain.mine(LAG);
    await run(500);
    expect(await batchStates()).toEqual(["3 recorded", "2 recorded", "1 recorded"]);
    expect(await chain.nextBatchId("latest")).toBe(4);
  });

  test("is recorded without its transaction when the RPC serves no logs", async () => {
    chain.intercept = (method) => void (method === "recording" && unavailable());
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    chain.mine(LAG);
    await run(500);
    expect(settlement.status()).toMatchObject({ state: "running", lastRecorded: 1 });
    expect(await store.batch(1)).not.toHaveProperty("block");
  });

  test("that another leader has moved meanwhile stays as that one left it", async () => {
    const { updateBatch } = store;
    store.updateBatch = async () => false;
    await verify([ALICE]);
    await settle({ maxWaitMs: 0 });
    await run(500);
    expect(changes).toEqual(["1 closed"]);
    store.updateBatch = updateBatch;
    await run(500);
    expect(changes).toEqual(["1 closed", "1 included"]);
  });
});

describe("settlement stops", () => {
  test("when the chain holds another root", async () => {
    chain.autoMine = false;
    const settlement = await settle({ maxWaitMs: 0 });
    await verify([ALICE]);
    settlement.nudge();
    await run(200);
    await chain.send({ id: 1, root: OTHER_ROOT, credits: [{ provider: BOB, units: 5n }] });
    chain.mine();
    await run(500);
    const { state, reason } = settlement.status();
    expect(state).toBe("stopped");
    expect(reason).toMatch(new RegExp(`batch 1 has the root ${OTHER_ROOT} on the chain.*npm run reconcile`));
    expect(logged.at(-1)).toMatchObject({ level: 50, msg: "settlement stopped: an operator has to act", reason });
    expect(await store.lockHolder("settlement")).toBeNull();
    const sent = chain.sent.length;
    await run(60_000);
    expect(chain.sent).toHaveLength(sent);
  });

  test("when the chain holds a batch that the store lacks", async () => {
    await chain.send({ id: 1, root: OTHER_ROOT, credits: [{ provider: BOB, units: 5n }] });
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    expect(settlement.status()).toMatchObject({ state: "stopped", reason: expect.stringContaining("the store lacks") });
    expect(await batchStates()).toEqual([]);
  });

  test("but not by the word of another chain, which the RPC serves for a while", async () => {
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    let elsewhere = true;
    chain.intercept = (method) =>
      void (elsewhere && method === "identify" && unavailable("the RPC serves chain 1 now"));
    const { rootOf } = chain;
    chain.rootOf = async () => OTHER_ROOT;
    await run(500);
    expect(settlement.status()).toMatchObject({ state: "waiting", reason: "the RPC serves chain 1 now" });
    elsewhere = false;
    chain.rootOf = rootOf;
    await run(2_000);
    expect(settlement.status()).toMatchObject({ state: "running" });
  });
});

describe("settlement waits", () => {
  test("while the contract is paused; what is included becomes final meanwhile", async () => {
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    chain.paused = true;
    await verify([BOB]);
    await run(500);
    const waiting = { state: "waiting", reason: expect.stringContaining("EnforcedPause") };
    expect(settlement.status()).toMatchObject(waiting);
    expect(await batchStates()).toEqual(["1 included"]);
    chain.mine(LAG);
    await run(2_000);
    expect(settlement.status()).toMatchObject({ ...waiting, lastRecorded: 1 });
    chain.paused = false;
    await run(30_000);
    expect(settlement.status()).toMatchObject({ state: "running" });
    expect(await batchStates()).toEqual(["2 included", "1 recorded"]);
  });

  test("while the recorder has lost its role, and lets another coordinator lead", async () => {
    const settlement = await settle({ maxWaitMs: 0 });
    chain.allowed = BOB;
    await verify([ALICE]);
    settlement.nudge();
    await run(61_000);
    expect(settlement.status()).toMatchObject({
      state: "waiting",
      reason: `${RECORDER} is not the contract's recorder: its owner calls setRecorder, or the key here has to change`,
    });
    expect(logged).toContainEqual(expect.objectContaining({ level: 50, msg: "settlement waiting" }));
    const another = new MemoryChain({ chainId: 51, contract: CONTRACT, recorder: BOB, lag: 0 });
    await settle({ maxWaitMs: 0 }, "second", another);
    await run(60_000);
    expect(await another.computeUnits(ALICE)).toBe(5n);
    chain.allowed = RECORDER;
  });

  test("while the recorder cannot pay, and says so", async () => {
    chain.balance = 0n;
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    await run(500);
    expect(settlement.status()).toMatchObject({ state: "waiting", reason: expect.stringContaining("send it coins") });
    chain.balance = 10n ** 20n;
    await run(2_000);
    expect(await batchStates()).toEqual(["1 included"]);
  });

  test("while the RPC is away: longer and longer, up to half a minute, and says it once", async () => {
    let asked = 0;
    chain.intercept = () => {
      asked++;
      unavailable();
    };
    const settlement = await settle();
    await run(100 + 200 + 400);
    expect(asked).toBe(4);
    await run(300_000);
    const before = asked;
    await run(300_000);
    expect(asked - before).toBe(10);
    expect(warnings()).toEqual([["settlement waiting", "the RPC failed: connection refused"]]);
    chain.intercept = () => {};
    await run(30_000);
    expect(settlement.status()).toMatchObject({ state: "running", reason: undefined });
  });

  test("after a fault of its own, which is logged with its stack", async () => {
    chain.intercept = () => {
      throw new TypeError("broken");
    };
    const settlement = await settle();
    expect(settlement.status()).toMatchObject({ state: "waiting", reason: "broken" });
    expect(logged.at(-1)).toMatchObject({ level: 50, msg: "settlement waiting", err: { type: "TypeError" } });
  });

  test("not when the contract refuses a batch as out of order: somebody was quicker, and the next look tells", async () => {
    let refused = 0;
    chain.intercept = (method) => {
      if (method === "send" && refused++ === 0) throw new ContractRefusal("BatchOutOfOrder", [2n, 1n]);
    };
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    await run(500);
    expect(settlement.status()).toMatchObject({ state: "running" });
    expect([refused, await batchStates(), warnings()]).toEqual([2, ["1 included"], []]);
  });

  test("an RPC that cannot tell what is final holds back no batch", async () => {
    chain.intercept = (method, at) =>
      void (method === "nextBatchId" && at === "finalized" && unavailable("no final block"));
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    await run(500);
    expect(await batchStates()).toEqual(["1 included"]);
    expect(settlement.status()).toMatchObject({ state: "waiting", reason: "no final block" });
  });
});

describe("settlement runs with a warning", () => {
  const logLine = "settlement running with a warning";

  test("while the recorder can pay for few more batches", async () => {
    chain.balance = 10n ** 15n;
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    await run(500);
    const reason = `${RECORDER} can pay for fewer than 10 more batches: send it coins`;
    expect(settlement.status()).toMatchObject({ state: "running", reason });
    expect(warnings()).toEqual([[logLine, reason]]);
    chain.balance = 10n ** 20n;
    chain.mine(LAG);
    await run(70_000);
    expect(settlement.status()).toMatchObject({ state: "running", reason: undefined });
  });

  test.each([
    [false, "batch 1 was sent, but no block takes it: the chain stands still, or the RPC loses transactions"],
    [true, "a block holds batch 1, but none that is final: finality lags behind"],
  ])("of a batch that is late, included: %s", async (included, reason) => {
    chain.autoMine = included;
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    await run(2 * INIT.resendMs - 500);
    expect(settlement.status().reason).toBeUndefined();
    await run(1_000);
    expect(settlement.status()).toMatchObject({ state: "running", reason });
    expect(warnings()).toEqual([[logLine, reason]]);
    chain.mine(1 + LAG);
    await run(1_500);
    expect(settlement.status()).toMatchObject({ reason: undefined, lastRecorded: 1 });
  });

  test("while receipts wait whose kind only a newer version can write into the leaf; all others are recorded", async () => {
    const newer = { kind: "made-up" as TaskKindName };
    const unknown = await verify([BOB, BOB], newer);
    await verify([ALICE]);
    const settlement = await settle();
    await run(INIT.maxWaitMs);
    chain.mine(LAG);
    await run(500);
    expect(await batchStates()).toEqual(["1 recorded"]);
    expect([await chain.computeUnits(ALICE), await chain.computeUnits(BOB)]).toEqual([5n, 0n]);
    expect(await store.unbatchedReceipts(9)).toEqual(unknown);
    const reason = "receipts of a kind that this version does not know wait for a newer coordinator to record them";
    expect(settlement.status()).toMatchObject({ state: "running", reason, openBatches: 0 });
    expect(warnings()).toEqual([[logLine, reason]]);
  });

  test("receipts that it cannot batch hurry no others, and cause no looks at the chain", async () => {
    await verify([BOB, BOB, BOB], { kind: "made-up" as TaskKindName });
    const settlement = await settle({ maxReceipts: 3 });
    await run(5_000);
    let asked = 0;
    chain.intercept = () => void asked++;
    await run(10_000);
    expect(asked).toBeLessThan(30);
    await verify([ALICE]);
    settlement.nudge();
    await run(INIT.maxWaitMs - 200);
    expect(await batchStates()).toEqual([]);
    await verify([ALICE], { kind: "made-up" as TaskKindName });
    await run(500);
    expect(await batchStates()).toEqual(["1 included"]);
    // A newer coordinator has batched them.
    const left = await store.unbatchedReceipts(9);
    expect(left).toHaveLength(4);
    await store.quarantineReceipts(clock.now() + 1);
    chain.mine(LAG);
    await run(3_000);
    expect(settlement.status()).toMatchObject({ state: "running", reason: undefined, lastRecorded: 1 });
  });
});

describe("several coordinators", () => {
  test("one leads; another stands by, says who records and how far that is, and takes over from a dead one", async () => {
    const leader = await settle({ maxWaitMs: 0 });
    const standby = await settle({ maxWaitMs: 0 }, "second");
    await verify([ALICE]);
    leader.nudge();
    await run(500);
    chain.mine(LAG);
    await run(2_000);
    expect(standby.status()).toEqual({
      state: "standby",
      reason: "first records",
      chainId: 51,
      contract: CONTRACT,
      openBatches: 0,
      lastRecorded: 1,
    });
    expect(warnings()).toEqual([]);
    gone.add("first");
    store.releaseLock = async () => {};
    await leader.stop();
    await verify([ALICE]);
    await run(2_000);
    expect(standby.status()).toMatchObject({ state: "running", openBatches: 1, recorder: RECORDER });
    expect(await chain.computeUnits(ALICE)).toBe(10n);
  });

  test("a leader whose own RPC is away lets another try after five failures", async () => {
    const cutOff = new MemoryChain({ chainId: 51, contract: CONTRACT, recorder: RECORDER, lag: LAG });
    cutOff.intercept = () => unavailable();
    const leader = await settle({ maxWaitMs: 0 }, "first", cutOff);
    const standby = await settle({ maxWaitMs: 0 }, "second");
    await verify([ALICE]);
    await run(100 + 200 + 400);
    expect(standby.status()).toMatchObject({ state: "standby" });
    await run(5_000);
    expect(standby.status()).toMatchObject({ state: "running" });
    expect(await batchStates()).toEqual(["1 included"]);
    await run(30_000);
    expect(leader.status()).toMatchObject({ state: "standby", reason: "second records" });
  });
});

describe("an idle settlement", () => {
  test("looks at the chain ten times as seldom, until a receipt comes", async () => {
    const settlement = await settle({ maxWaitMs: 0 });
    await run(2_000);
    let looks = 0;
    chain.intercept = (method) => void (method === "nextBatchId" && looks++);
    await run(10_000);
    expect(looks).toBe(10);
    await verify([ALICE]);
    settlement.nudge();
    await run(0);
    expect(await batchStates()).toEqual(["1 included"]);
  });
});

describe("start and stop", () => {
  test("a store of another contract is refused", async () => {
    await store.bind({ chainId: 51, address: BOB }, false);
    await expect(settle()).rejects.toMatchObject({ code: "STORE_BOUND_ELSEWHERE" });
  });

  test("stop ends a request that hangs, gives the lead back, and a new start continues", async () => {
    let hanging = 0;
    chain.intercept = (method) => {
      if (method !== "estimate") return undefined;
      hanging++;
      return new Promise(() => {});
    };
    await verify([ALICE]);
    const settlement = await settle({ maxWaitMs: 0 });
    await vi.waitFor(() => expect(hanging).toBe(1));
    await settlement.stop();
    await settlement.stop();
    expect(await store.lockHolder("settlement")).toBeNull();
    expect(warnings()).toEqual([]);
    chain.intercept = () => {};
    await settlement.start();
    await settlement.start();
    await run(500);
    expect(await batchStates()).toEqual(["1 included"]);
  });
});
