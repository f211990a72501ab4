import { generateKeyPairSync, sign } from "node:crypto";
import { buildBatch, leafOf } from "@proof-of-compute/coordinator/domain/batch";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import { accept, assign, cancel, endAssignment, type Task } from "@proof-of-compute/coordinator/domain/task";
import {
  type Address,
  addressBytes,
  fromHex,
  type Hex,
  merkleRoot,
  receiptTree,
  resultMessage,
  resultsMessage,
  sha256,
  toHex,
} from "@proof-of-compute/proto";
import { matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import { TaskSpec } from "@proof-of-compute/proto/task";
import { Wallet } from "ethers";
import { expect, it } from "vitest";
import { check, RULES } from "./network/checker.ts";
import type { Evidence } from "./network/evidence.ts";
import type { Entry } from "./network/history.ts";

const REQUESTER = Wallet.createRandom().address as Address;
const PROVIDER = Wallet.createRandom().address as Address;
const NODE = generateKeyPairSync("ed25519");
const NODE_ID = toHex(NODE.publicKey.export({ type: "spki", format: "der" }).subarray(-32));
const OWNER = { coordinatorId: "coordinator-1", incarnation: id(99) };
const ASKED = { n: 128, k: 3, deadlineSeconds: 3_600 };
const VIA = "http://127.0.0.1:1";
const OUTPUT = sha256(Buffer.from("some product"));

function id(number: number): Hex {
  return toHex(Buffer.alloc(16, number));
}

function newTask(number: number): Task {
  const deadlineUnixMs = BigInt(1_000 + ASKED.deadlineSeconds * 1_000);
  const { n, k } = ASKED;
  return {
    id: id(number),
    version: 1,
    requester: REQUESTER,
    kind: "matmul",
    spec: TaskSpec.encode({
      chainId: 31337n,
      contract: Buffer.alloc(20, 1),
      requester: Buffer.from(addressBytes(REQUESTER)),
      deadlineUnixMs,
      kind: { $case: "matmul", value: { n, k } },
    }).finish(),
    state: "queued",
    createdAt: 1_000,
    deadline: Number(deadlineUnixMs),
    notBefore: 1_000,
    attempts: 0,
    assignments: {},
  };
}

function given(task: Task, assignmentId: Hex, assignedAt: number): Task {
  return assign(task, { id: assignmentId, nodeId: NODE_ID, wallet: PROVIDER, assignedAt }, OWNER);
}

function receiptOf(task: Task, receiptId: Hex, acceptedAt: number): Receipt {
  const specDigest = sha256(task.spec);
  const ids = { assignmentId: fromHex(receiptId), taskId: fromHex(task.id), specDigest, outputDigest: OUTPUT };
  const message = resultsMessage(merkleRoot([resultMessage({ ...ids, wallet: addressBytes(PROVIDER) })]));
  return {
    ...{ receiptId, taskId: task.id, nodeId: NODE_ID, provider: PROVIDER, requester: REQUESTER },
    ...{
      kind: "matmul",
      assurance: "proven",
      specDigest: toHex(specDigest),
      spec: toHex(task.spec),
      resultDigest: toHex(OUTPUT),
    },
    units: matmulUnits(ASKED.n, ASKED.k),
    acceptedAt,
    proof: { signature: toHex(sign(null, message, NODE.privateKey)), index: 0, size: 1, path: [] },
  };
}

/** A run without faults: one task was lost once and then accepted, another was cancelled in the queue. */
function honest(): { history: Entry[]; evidence: Evidence } {
  const first = given(newTask(1), id(10), 1_100);
  const ending = { state: "lost", reason: "NODE_OFFLINE", at: 2_000 } as const;
  const again = given(endAssignment(first, id(10), ending, { maxAttempts: 3, notBefore: 2_000 }, OWNER), id(11), 2_100);
  const receipt = receiptOf(again, id(11), 3_000);
  const done = accept(again, receipt);
  const cancelled = cancel(newTask(2), 1_500);
  const batch = { ...buildBatch(1, [receipt], receiptTree([leafOf(receipt)]).root, 4_000), state: "recorded" } as const;
  const submit = { type: "submit", requester: REQUESTER, via: VIA, asked: ASKED } as const;
  const live = [{ id: id(10), state: "live" as const }];
  const ended = [
    { id: id(10), state: "lost" as const },
    { id: id(11), state: "accepted" as const },
  ];
  const ack = { assignmentId: id(11), verdict: "ACCEPTED" as const, reason: "", units: String(receipt.units) };
  const late = { assignmentId: id(10), verdict: "LATE" as const, reason: "NODE_OFFLINE", units: "0" };
  return {
    history: [
      { at: 0, ...submit, key: "a", phase: "invoke" },
      { at: 1, ...submit, key: "a", phase: "unknown", code: "TimeoutError" },
      { at: 2, ...submit, key: "a", phase: "ok", taskId: id(1) },
      { at: 3, ...submit, key: "b", phase: "ok", taskId: id(2) },
      { at: 4, type: "cancel", taskId: id(2), via: VIA, phase: "ok", state: "cancelled" },
      { at: 6, type: "read", taskId: id(1), via: VIA, askedAt: 5, seen: { state: "running", assignments: live } },
      { at: 8, type: "read", taskId: id(1), via: VIA, askedAt: 7, seen: { state: "recorded", assignments: ended } },
      { at: 9, type: "output", taskId: id(1), via: VIA, digest: toHex(OUTPUT), valid: true },
    ],
    evidence: {
      tasks: [done, cancelled],
      receipts: [{ ...receipt, batchId: 1 }],
      batches: [batch],
      chain: { units: { [PROVIDER]: receipt.units }, roots: { 1: batch.root }, nextBatchId: 2 },
      daemons: [{ name: "daemon-1", wallet: PROVIDER, acks: [late, ack], kept: [] }],
      broken: [],
      clocksApartMs: 0,
    },
  };
}

type Mutable<T> = { -readonly [K in keyof T]: Loose };
// biome-ignore lint/suspicious/noExplicitAny: a doctored record may hold what its type forbids.
type Loose = any;

/** The promises that an honest run breaks once `doctor` has changed it in place. */
function broken(doctor: (run: { history: Record<string, Loose>[]; evidence: Mutable<Evidence> }) => void): string[] {
  const run = structuredClone(honest());
  doctor(run as unknown as Parameters<typeof doctor>[0]);
  return [...new Set(check(run.history, run.evidence).map(({ rule }) => rule))];
}

type Doctor = Parameters<typeof broken>[0];

const ALTERED = "no accepted task is lost or altered";
const KEYS = "a key makes one task, and every task has a key";
const LEASE = "a task has one live lease at a time";
const ENDS = "every task ends as its requester asked";
const HONEST = "honest nodes are never blamed";
const SHOWN = "what was shown stays true";
const FENCE = "a receipt belongs to the accepted assignment, and its node signed it";
const UNITS = "every verified unit is credited once";
const BATCHES = "a receipt is in one recorded batch, whose root the chain holds";
const VERIFIER = "the public verifier agrees";
const TOLD = "every verdict that a node was told holds";
const OUTPUTS = "outputs are the requested products";
const HAPPENED = "something happened";

const CASES: readonly (readonly [string, string, Doctor])[] = [
  [ALTERED, "an accepted task is missing", ({ evidence }) => evidence.tasks.splice(1, 1)],
  [ALTERED, "a task has another size", ({ history }) => (history[2]!.asked = { ...ASKED, n: 64 })],
  [ALTERED, "a task belongs to another requester", ({ history }) => (history[2]!.requester = PROVIDER)],
  [ALTERED, "a task has another deadline", ({ evidence }) => evidence.tasks[0].deadline++],
  [KEYS, "a key gave two tasks", ({ history }) => (history[3]!.key = "a")],
  [KEYS, "a task has no request", ({ history }) => history.splice(3, 1)],
  [LEASE, "two leases overlap", ({ evidence }) => (evidence.tasks[0].assignments[id(10)].endedAt = 2_500)],
  [LEASE, "a lease never ended", ({ evidence }) => delete evidence.tasks[0].assignments[id(10)].endedAt],
  [LEASE, "a lease is still live at the end", ({ evidence }) => (evidence.tasks[0].assignments[id(11)].state = "live")],
  [LEASE, "two were accepted", ({ evidence }) => (evidence.tasks[0].assignments[id(10)].state = "accepted")],
  [LEASE, "a failed task was accepted", ({ evidence }) => (evidence.tasks[0].state = "failed")],
  [ENDS, "a task still waits", ({ evidence }) => (evidence.tasks[1].state = "queued")],
  [ENDS, "an acknowledged cancel had no effect", ({ evidence }) => (evidence.tasks[1].state = "failed")],
  [ENDS, "nobody cancelled it", ({ history }) => history.splice(4, 1)],
  [ENDS, "its requester is told that it does not exist", ({ history }) => (history[4]!.code = "NOT_FOUND")],
  [
    ENDS,
    "it failed long before its deadline",
    ({ evidence }) => Object.assign(evidence.tasks[1], { state: "failed", error: { code: "DEADLINE_PASSED" } }),
  ],
  [HONEST, "a right result was rejected", ({ evidence }) => (evidence.tasks[0].assignments[id(10)].state = "rejected")],
  [SHOWN, "a shown assignment disappears", ({ evidence }) => delete evidence.tasks[0].assignments[id(10)]],
  [SHOWN, "a shown end is taken back", ({ history }) => (history[6]!.seen.assignments[1].state = "lost")],
  [
    SHOWN,
    "a recorded task is shown running later",
    ({ history }) => history.splice(7, 0, { ...history[5]!, askedAt: 8, at: 9 }),
  ],
  [
    SHOWN,
    "a recorded task is shown only batched later",
    ({ history }) => {
      const { seen } = history[6]!;
      history.splice(7, 0, { ...history[6]!, askedAt: 8, at: 9, seen: { ...seen, state: "batched" } });
    },
  ],
  [FENCE, "a lost assignment has a receipt", ({ evidence }) => (evidence.receipts[0].receiptId = id(10))],
  [FENCE, "a receipt is stored twice", ({ evidence }) => evidence.receipts.push(evidence.receipts[0])],
  [FENCE, "a receipt belongs to no task", ({ evidence }) => (evidence.receipts[0].taskId = id(7))],
  [FENCE, "a receipt is missing", ({ evidence }) => evidence.receipts.pop()],
  [FENCE, "a receipt has another result", ({ evidence }) => (evidence.receipts[0].resultDigest = toHex(sha256()))],
  [FENCE, "a receipt has another wallet", ({ evidence }) => (evidence.receipts[0].provider = REQUESTER)],
  [UNITS, "the chain has one unit more", ({ evidence }) => evidence.chain.units[PROVIDER]++],
  [UNITS, "a receipt has one unit more", ({ evidence }) => evidence.receipts[0].units++],
  [UNITS, "a stranger has units", ({ evidence }) => (evidence.chain.units[REQUESTER] = 1n)],
  [BATCHES, "a batch is not recorded", ({ evidence }) => (evidence.batches[0].state = "included")],
  [BATCHES, "the chain holds another root", ({ evidence }) => (evidence.chain.roots[1] = toHex(sha256()))],
  [BATCHES, "a receipt is in no batch", ({ evidence }) => delete evidence.receipts[0].batchId],
  [BATCHES, "a receipt is in quarantine", ({ evidence }) => (evidence.receipts[0].quarantined = true)],
  [BATCHES, "a batch's receipts make another root", ({ evidence }) => evidence.receipts[0].acceptedAt++],
  [BATCHES, "a batch credits other sums than its receipts", ({ evidence }) => evidence.batches[0].credits[0].units++],
  [BATCHES, "the chain has one batch more", ({ evidence }) => evidence.chain.nextBatchId++],
  [
    BATCHES,
    "a receipt is in two batches",
    ({ evidence }) => {
      evidence.batches.push({ ...evidence.batches[0], id: 2 });
      evidence.chain.roots[2] = evidence.batches[0].root;
      evidence.chain.nextBatchId++;
    },
  ],
  [
    VERIFIER,
    "the public verifier disagrees",
    ({ evidence }) => evidence.broken.push({ batchId: 1, detail: "duplicates" }),
  ],
  [TOLD, "an accepted result has no receipt", ({ evidence }) => (evidence.daemons[0].acks[0].verdict = "ACCEPTED")],
  [TOLD, "a late result has a receipt", ({ evidence }) => (evidence.daemons[0].acks[1].verdict = "LATE")],
  [TOLD, "a node was told other units", ({ evidence }) => (evidence.daemons[0].acks[1].units = "1")],
  [TOLD, "a result never gets a verdict", ({ evidence }) => evidence.daemons[0].kept.push("00000001.log")],
  [OUTPUTS, "an output is wrong", ({ history }) => (history[7]!.valid = false)],
  [OUTPUTS, "an output belongs to another task", ({ history }) => (history[7]!.digest = toHex(sha256()))],
  [HAPPENED, "nothing was recorded", ({ evidence }) => evidence.batches.pop()],
];

it("finds nothing in a run without faults", () => {
  const { history, evidence } = honest();
  expect(check(history, evidence)).toEqual([]);
});

it.each(CASES)("%s: detects that %s", (rule, _what, doctor) => {
  expect(broken(doctor)).toContain(rule);
});

it("has a doctored run for every rule", () => {
  expect(new Set(CASES.map(([rule]) => rule))).toEqual(new Set(Object.keys(RULES)));
});

it("tolerates clocks that differ by their shifts, and no more", () => {
  const overlap = (clocksApartMs: number) =>
    broken(({ evidence }) => {
      evidence.tasks[0].assignments[id(10)].endedAt = 2_500;
      evidence.clocksApartMs = clocksApartMs;
    });
  expect(overlap(1_000)).toEqual([]);
  expect(overlap(100)).toEqual([LEASE]);
});
