import {
  type Hex,
  receiptLeaf,
  receiptTree,
  sha256,
  toHex,
  toXdcAddress,
  verifyReceiptProof,
} from "@proof-of-compute/proto";
import { type Kind, KindRegistry } from "@proof-of-compute/proto/kinds";
import {
  type CheckedLink,
  leafFields,
  readBatchLine,
  readReceipt,
  verifyReceipt,
} from "@proof-of-compute/proto/verify";
import { echoRequest } from "@proof-of-compute/tests/support/echo/coordinator";
import { echo as protocol } from "@proof-of-compute/tests/support/echo/protocol";
import { ORIGIN, type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { afterEach, beforeEach, expect, test } from "vitest";
import { leafOf } from "../../../domain/batch.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import type { LiveNode } from "../../../services/fleet/live-node.ts";
import { Retention } from "../../../services/retention.ts";
import type { ReceiptView } from "./schemas.ts";

let rest: RestHarness;
let nodes: LiveNode[];
beforeEach(async () => {
  rest = await startRest();
  nodes = [await rest.joinNode(), await rest.joinNode()];
});
afterEach(() => rest.stop());

async function makeReceipts(count: number): Promise<Receipt[]> {
  const { cookie } = await rest.signIn();
  const receipts: Receipt[] = [];
  for (let i = 0; i < count; i++) {
    rest.clock.advance(1);
    const { id } = (await rest.dispatch(cookie, echoRequest("echo".slice(i % 3)))).json() as { id: Hex };
    const node = nodes.find(({ assignments }) => [...assignments.values()].some(({ task }) => task.id === id))!;
    receipts.push(await rest.complete(node, id));
  }
  return receipts;
}

const link = (links: readonly CheckedLink[], name: string) => links.find((one) => one.name === name)!;

/** Reads and checks a receipt's file, with the result that it names. */
async function verified(receiptId: Hex) {
  const response = await rest.get(`/api/receipts/${receiptId}`);
  expect(response.headers["content-type"]).toMatch("application/json");
  const file = readReceipt(response.body);
  const result = async () => {
    if (!file.result.available) throw new Error("gone");
    return (await rest.get(new URL(file.result.url).pathname)).rawPayload;
  };
  return {
    file,
    links: await Array.fromAsync(verifyReceipt(response.body, { result }, new KindRegistry<Kind>([protocol]))),
  };
}

test("a receipt has everything that a verifier needs, before and after it is batched", async () => {
  const [receipt] = await makeReceipts(1);
  const { receiptId } = receipt!;
  const before = await verified(receiptId);
  expect(before.file).toMatchObject({
    leaf: receiptLeaf(leafOf(receipt!)),
    chain: { chainId: 51 },
    receipt: { receiptId, units: "4", kind: "echo", assurance: "proven" },
    signature: { index: 0, size: 1 },
    result: { available: true, url: `${ORIGIN}/api/receipts/${receiptId}/result` },
  });
  expect(before.file).not.toHaveProperty("batch");
  for (const name of ["format", "spec digest", "spec fields"] as const)
    expect(link(before.links, name).status).toBe("ok");
  // The harness' nodes sign nothing.
  expect(link(before.links, "node signature").status).toBe("failed");

  await makeReceipts(6);
  const batch = await rest.closeBatch();
  const transaction: Hex = `0x${"cd".repeat(32)}`;
  await rest.setBatch(batch.id, "included", transaction, 98);
  expect((await verified(receiptId)).file.batch).not.toHaveProperty("recorded");
  await rest.setBatch(batch.id, "recorded", transaction, 99);
  const { file } = await verified(receiptId);
  expect(file.batch).toMatchObject({ id: batch.id, root: batch.root, recorded: { transaction, block: 99 } });
  expect(verifyReceiptProof(batch.root, file.leaf, file.batch!.proof)).toBe(true);
});

test("a receipt's result is public, for any site", async () => {
  const [receipt] = await makeReceipts(1);
  const url = `/api/receipts/${receipt!.receiptId}/result`;
  const response = await rest.get(url);
  expect(toHex(sha256(response.rawPayload))).toBe(receipt!.resultDigest);
  expect(response.headers).toMatchObject({
    "access-control-allow-origin": "*",
    "content-type": "application/octet-stream",
  });
  const again = await rest.app.inject({ url, headers: { "if-none-match": response.headers.etag } });
  expect(again.statusCode).toBe(304);
  expect((await rest.get(`/api/receipts/0x${"00".repeat(16)}/result`)).statusCode).toBe(404);
});

test("a deleted result leaves its receipt, which says that it is deleted", async () => {
  const [receipt, other] = await makeReceipts(2);
  const retention = new Retention({ ...rest, random: Math.random }, { retentionMs: 60_000, taskRetentionMs: 120_000 });
  retention.start();
  await retention.sweep();
  rest.clock.jump(60_000);
  await retention.sweep();
  expect((await verified(receipt!.receiptId)).file.result).toEqual({ available: false });
  expect((await verified(other!.receiptId)).file.result.available).toBe(true);
  const gone = await rest.get(`/api/receipts/${receipt!.receiptId}/result`);
  expect([gone.statusCode, gone.json().code]).toEqual([404, "NO_RESULT"]);
  await retention.stop();
});

test("exports all receipts of a wallet, each like its own file", async () => {
  const receipts = await makeReceipts(3);
  await rest.closeBatch();
  // More batches than trees are kept.
  for (let i = 0; i < 12; i++) {
    receipts.push(...(await makeReceipts(1)));
    await rest.closeBatch();
  }
  receipts.push(...(await makeReceipts(1)));
  const { provider } = receipts[0]!;
  const response = await rest.get(`/api/receipts/export?provider=${toXdcAddress(provider)}`);
  expect(response.headers["content-type"]).toBe("application/jsonl");
  const lines = response.body.trimEnd().split("\n");
  const files = lines.map(readReceipt);
  const own = receipts.filter((receipt) => receipt.provider === provider).map(({ receiptId }) => receiptId);
  expect(files.map(({ receipt }) => receipt.receiptId)).toEqual(own.sort());
  expect(lines[0]).toBe((await rest.get(`/api/receipts/${files[0]!.receipt.receiptId}`)).body);
});

test("proves every receipt of a batch from one cached tree", async () => {
  const receipts = await makeReceipts(9);
  const { root } = await rest.closeBatch();
  for (const { receiptId } of receipts) {
    const { leaf, batch } = readReceipt((await rest.get(`/api/receipts/${receiptId}`)).body);
    expect(verifyReceiptProof(root, leaf, batch!.proof)).toBe(true);
  }
});

test("the streamed receipts of a batch give its root and its credits", async () => {
  await makeReceipts(7);
  const { id } = await rest.closeBatch();
  const response = await rest.get(`/api/batches/${id}/receipts`);
  expect(response.headers["content-type"]).toBe("application/jsonl");
  const receipts = response.body.trimEnd().split("\n").map(readBatchLine);
  const batch = (await rest.get(`/api/batches/${id}`)).json();
  expect(batch).toMatchObject({ id, state: "closed", receipts: 7, providers: 2 });
  const leaves = receipts.map(({ batchId: _, signature: __, spec: ___, ...fields }) => leafFields(fields));
  expect(receiptTree(leaves).root).toBe(batch.root);
  for (const { provider, units } of batch.credits) {
    const own = receipts.filter((receipt) => receipt.provider === provider);
    expect(own.reduce((sum, receipt) => sum + BigInt(receipt.units), 0n)).toBe(BigInt(units));
  }
  const { etag } = response.headers;
  const cached = await rest.app.inject({ url: `/api/batches/${id}/receipts`, headers: { "if-none-match": etag } });
  expect([cached.statusCode, cached.body]).toEqual([304, ""]);
});

test("streams a batch of many pages completely", async () => {
  const [template] = await makeReceipts(1);
  const task = (await rest.store.task(template!.taskId))!;
  await rest.closeBatch();
  for (let i = 0; i < 1100; i++) {
    const receiptId: Hex = `0x${(i + 1).toString(16).padStart(32, "0")}`;
    const version = task.version + 1 + i;
    await rest.store.saveTask({ ...task, version }, { receipt: { ...template!, receiptId } });
  }
  const receipts = await rest.store.unbatchedReceipts(2000);
  const { root } = receiptTree(receipts.map(leafOf));
  const batch = { id: 2, root, credits: [], receiptIds: receipts.map((receipt) => receipt.receiptId), units: 1100n };
  expect(await rest.store.insertBatch({ ...batch, closedAt: 0, state: "closed" })).toBe(true);
  const lines = (await rest.get("/api/batches/2/receipts")).body.trimEnd().split("\n");
  expect(new Set(lines.map((line) => JSON.parse(line).receiptId)).size).toBe(1100);
  const { receiptId } = receipts[700]!;
  const file = readReceipt((await rest.get(`/api/receipts/${receiptId}`)).body);
  expect(verifyReceiptProof(root, file.leaf, file.batch!.proof)).toBe(true);
});

test("lists receipts, and those of one wallet in either notation", async () => {
  const receipts = await makeReceipts(6);
  const all = (await rest.get("/api/receipts?limit=100")).json().items;
  expect(all.map((receipt: ReceiptView) => receipt.receiptId).sort()).toEqual(receipts.map((r) => r.receiptId).sort());
  const { provider } = receipts[0]!;
  const own = receipts.filter((receipt) => receipt.provider === provider).map(({ receiptId }) => receiptId);
  for (const text of [provider, provider.toLowerCase(), toXdcAddress(provider)]) {
    const { items } = (await rest.get(`/api/receipts?provider=${text}`)).json();
    expect(items.map((receipt: ReceiptView) => receipt.receiptId)).toEqual(own);
  }
});

test("lists batches, newest first", async () => {
  await makeReceipts(2);
  await rest.closeBatch();
  await makeReceipts(1);
  await rest.closeBatch();
  const first = (await rest.get("/api/batches?limit=1")).json();
  expect(first.items).toMatchObject([{ id: 2, state: "closed", providers: 1 }]);
  const second = (await rest.get(`/api/batches?limit=1&cursor=${first.cursor}`)).json();
  expect(second.items).toMatchObject([{ id: 1 }]);
  expect(second).not.toHaveProperty("cursor");
});
