import type { Hex } from "@proof-of-compute/proto";
import { readReceipt } from "@proof-of-compute/proto/verify";
import { echoRequest } from "@proof-of-compute/tests/support/echo/coordinator";
import { followTask } from "@proof-of-compute/tests/support/event-reader";
import { ORIGIN, type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Receipt } from "../../../domain/receipt.ts";
import { KINDS } from "../../../kinds/index.ts";

/** A request that both coordinators know. */
const [known] = KINDS;
const KNOWN_REQUEST = { kind: known!.name, [known!.name]: known!.presets[0]!.parameters };

/** Two coordinators on one store, as in a rolling upgrade; only the newer one knows echo. */
let older: RestHarness;
let newer: RestHarness;
beforeEach(async () => {
  older = await startRest({ kinds: KINDS });
  newer = await startRest({ beside: older });
});
afterEach(async () => {
  await newer.stop();
  await older.stop();
});

/** A queued task that only the newer coordinator knows. */
async function anEcho(change: object = {}) {
  const { cookie } = await older.signIn();
  const { id } = (await newer.dispatch(cookie, { ...echoRequest(), ...change })).json() as { id: Hex };
  return { cookie, id };
}

async function aVerifiedEcho() {
  const { cookie, id } = await anEcho();
  const node = await newer.joinNode();
  await expect.poll(() => node.assignments.size).toBe(1);
  return { cookie, id, receipt: await newer.complete(node, id) };
}

test("lists and shows a task of an unknown kind without its parameters, beside others", async () => {
  const { cookie, id } = await anEcho();
  await older.dispatch(cookie, KNOWN_REQUEST);
  const { items } = (await older.get("/api/tasks", cookie)).json();
  const shown = { id, kind: "echo", state: "queued", waitingReason: expect.stringContaining("kind echo") };
  expect(items).toMatchObject([KNOWN_REQUEST, shown]);
  const read = (await older.get(`/api/tasks/${id}`, cookie)).json();
  expect(read).toMatchObject(shown);
  for (const member of ["echo", "units", "maxUnits"]) expect(read).not.toHaveProperty(member);
  expect((await newer.get(`/api/tasks/${id}`, cookie)).json()).toMatchObject(echoRequest());
});

test("cancels a task of an unknown kind", async () => {
  const { cookie, id } = await anEcho();
  const headers = { cookie, origin: ORIGIN };
  const answer = await older.app.inject({ method: "POST", url: `/api/tasks/${id}/cancel`, headers });
  expect(answer.json()).toMatchObject({ id, kind: "echo", state: "cancelled" });
});

test("ends a task of an unknown kind at its deadline", async () => {
  const { cookie, id } = await anEcho({ deadlineSeconds: 10 });
  await newer.stop();
  await older.clock.run(12_000, 500);
  const read = async () => (await older.get(`/api/tasks/${id}`, cookie)).json();
  await expect.poll(read).toMatchObject({ state: "failed", error: { code: "DEADLINE_PASSED" } });
});

test("follows a task of an unknown kind by events", async () => {
  const { cookie, id } = await anEcho();
  await older.listen();
  const reader = await followTask(older.app, id, cookie);
  await expect.poll(() => reader.last).toMatchObject({ kind: "echo", state: "queued" });
  const node = await newer.joinNode();
  await expect.poll(() => node.assignments.size).toBe(1);
  await newer.complete(node, id);
  await expect
    .poll(async () => {
      await older.clock.run(500);
      return reader.last;
    })
    .toMatchObject({ state: "verified", units: "5" });
  reader.close();
});

test("gives its requester a result of an unknown kind, and says to others that it is not public", async () => {
  const { cookie, id, receipt } = await aVerifiedEcho();
  expect((await older.get(`/api/tasks/${id}/result`, cookie)).body).toBe("hello");
  const refused = await older.get(`/api/receipts/${receipt.receiptId}/result`);
  expect(refused.json()).toMatchObject({
    status: 403,
    code: "FORBIDDEN",
    detail: expect.stringContaining("kind echo"),
  });
  expect((await newer.get(`/api/receipts/${receipt.receiptId}/result`)).body).toBe("hello");
});

test("shows receipts of an unknown kind: one, listed, exported and in their batch", async () => {
  const { receipt } = await aVerifiedEcho();
  const { receiptId, provider } = receipt;
  const batch = await newer.closeBatch();
  const file = await older.get(`/api/receipts/${receiptId}`);
  expect(readReceipt(file.body)).toMatchObject({ receipt: { kind: "echo", units: "5" }, result: { available: false } });
  expect((await older.get("/api/receipts")).json().items).toMatchObject([{ receiptId, kind: "echo" }]);
  expect((await older.get(`/api/receipts/export?provider=${provider}`)).body).toBe(`${file.body}\n`);
  expect((await older.get(`/api/batches/${batch.id}/receipts`)).body).toContain(receiptId);
});

test("shows nodes that offer an unknown kind", async () => {
  const { id } = await newer.joinNode();
  expect((await older.get("/api/nodes")).json().items).toMatchObject([{ id, kinds: [...KINDS.names, "echo"] }]);
});

test("lists a receipt of a kind without a number, refuses to prove it, and cuts off an export with it", async () => {
  const { receipt, id } = await aVerifiedEcho();
  const task = (await older.store.task(id))!;
  const later = { ...receipt, receiptId: `0x${"ff".repeat(16)}`, kind: "later" } as unknown as Receipt;
  expect(await older.store.saveTask({ ...task, version: task.version + 1 }, { receipt: later })).toBe(true);
  const { items } = (await older.get("/api/receipts")).json();
  expect(items).toMatchObject([{ kind: "echo" }, { kind: "later" }]);
  const exported = `http://127.0.0.1:${await older.listen()}/api/receipts/export?provider=${receipt.provider}`;
  // Cut off, so that nobody takes it for the whole export.
  await expect(fetch(exported).then((answer) => answer.text())).rejects.toThrow("terminated");
  const refused = await older.get(`/api/receipts/${later.receiptId}`);
  expect(refused.json()).toMatchObject({
    status: 503,
    code: "UNAVAILABLE",
    detail: expect.stringContaining("kind later"),
  });
});
