import { randomBytes } from "node:crypto";
import { type Hex, receiptLeaf, receiptTree, toXdcAddress, verifyReceiptProof } from "@proof-of-compute/proto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { leafOf } from "../../domain/batch.ts";
import type { Receipt } from "../../domain/receipt.ts";
import type { LiveNode } from "../../services/live-node.ts";
import { type RestHarness, startRest } from "./harness.ts";
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
    const { id } = (await rest.dispatch(cookie, { n: 64, k: 2 + (i % 3) })).json() as { id: Hex };
    const node = nodes.find(({ runs }) => [...runs.values()].some(({ task }) => task.id === id))!;
    receipts.push(await rest.complete(node, id, randomBytes(64 * 64)));
  }
  return receipts;
}

/** A receipt of the API as its leaf's fields. */
const leafOfView = (view: ReceiptView) =>
  receiptLeaf(leafOf({ ...(view as unknown as Receipt), units: BigInt(view.units) }));

test("a receipt comes with all that a verifier needs, before and after it is batched", async () => {
  const [receipt] = await makeReceipts(1);
  const { receiptId } = receipt!;
  const before = (await rest.get(`/api/receipts/${receiptId}`)).json();
  expect(before).toMatchObject({
    leaf: receiptLeaf(leafOf(receipt!)),
    chain: { chainId: 51 },
    receipt: { receiptId, units: "1", kind: "matmul", assurance: "proven", signature: { index: 0, size: 1 } },
  });
  expect(before.spec).toMatch(/^0x[0-9a-f]+$/);
  expect(before).not.toHaveProperty("proof");
  expect(leafOfView(before.receipt)).toBe(before.leaf);

  await makeReceipts(6);
  const batch = await rest.closeBatch();
  const transaction: Hex = `0x${"cd".repeat(32)}`;
  await rest.setBatch(batch.id, "recorded", transaction, 99);
  const after = (await rest.get(`/api/receipts/${receiptId}`)).json();
  expect(after).toMatchObject({
    receipt: { batchId: batch.id },
    batch: { id: batch.id, root: batch.root, state: "recorded", transaction, block: 99 },
    explorerUrl: `https://testnet.xdcscan.com/tx/${transaction}`,
  });
  expect(verifyReceiptProof(after.batch.root, after.leaf, after.proof)).toBe(true);
});

test("every receipt of a batch has its proof, each from the tree that was kept", async () => {
  const receipts = await makeReceipts(9);
  const { root } = await rest.closeBatch();
  for (const { receiptId } of receipts) {
    const { leaf, proof } = (await rest.get(`/api/receipts/${receiptId}`)).json();
    expect(verifyReceiptProof(root, leaf, proof)).toBe(true);
  }
});

test("the receipts of a batch, streamed, make its root and its credits", async () => {
  await makeReceipts(7);
  const { id } = await rest.closeBatch();
  const response = await rest.get(`/api/batches/${id}/receipts`);
  expect(response.headers["content-type"]).toBe("application/jsonl");
  const receipts: ReceiptView[] = response.body
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const batch = (await rest.get(`/api/batches/${id}`)).json();
  expect(batch).toMatchObject({ id, state: "closed", receipts: 7, providers: 2 });
  const leaves = receipts.map((view) => leafOf({ ...(view as unknown as Receipt), units: BigInt(view.units) }));
  expect(receiptTree(leaves).root).toBe(batch.root);
  for (const { provider, units } of batch.credits) {
    const own = receipts.filter((receipt) => receipt.provider === provider);
    expect(own.reduce((sum, receipt) => sum + BigInt(receipt.units), 0n)).toBe(BigInt(units));
  }
  const { etag } = response.headers;
  const cached = await rest.app.inject({ url: `/api/batches/${id}/receipts`, headers: { "if-none-match": etag } });
  expect([cached.statusCode, cached.body]).toEqual([304, ""]);
});

test("a batch of many pages is streamed whole", async () => {
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
  const { leaf, proof } = (await rest.get(`/api/receipts/${receiptId}`)).json();
  expect(verifyReceiptProof(root, leaf, proof)).toBe(true);
});

test("receipts are listed, of one wallet in either notation", async () => {
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

test("batches are listed newest first", async () => {
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
