import { randomBytes } from "node:crypto";
import { fromHex, type Hex, sha256, toHex } from "@proof-of-compute/proto";
import { echoRequest } from "@proof-of-compute/tests/support/echo/coordinator";
import { ORIGIN, type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { afterEach, beforeEach, expect, test } from "vitest";
import { KINDS } from "../../../kinds/index.ts";

let rest: RestHarness;
beforeEach(async () => {
  rest = await startRest();
});
afterEach(() => rest.stop());

test("a task shows every state from queued to recorded in one view", async () => {
  const { cookie, wallet } = await rest.signIn();
  const dispatched = await rest.dispatch(cookie, echoRequest());
  expect(dispatched.statusCode).toBe(202);
  const queued = dispatched.json();
  const id = queued.id as Hex;
  expect(dispatched.headers.location).toBe(`/api/tasks/${id}`);
  expect(queued).toMatchObject({
    ...echoRequest(),
    units: "5",
    state: "queued",
    waitingReason: "no node is online",
    requester: wallet.address,
    assignments: [],
    attempts: 0,
  });
  const view = async () => (await rest.get(`/api/tasks/${id}`, cookie)).json();

  const node = await rest.joinNode();
  await expect.poll(async () => (await view()).state).toBe("running");
  rest.leases.advance(rest.runOf(node, id), 0.5);
  const running = await view();
  expect(running).toMatchObject({ progress: 0.5, assignments: [{ nodeId: node.id, state: "live" }] });
  expect(running).not.toHaveProperty("waitingReason");

  const receipt = await rest.complete(node, id);
  const { receiptId, resultDigest } = receipt;
  const verified = await view();
  expect(verified).toMatchObject({
    state: "verified",
    receiptId,
    resultDigest,
    assignments: [{ id: receiptId, state: "accepted" }],
  });
  expect(verified).not.toHaveProperty("batch");

  const batch = await rest.closeBatch();
  expect(await view()).toMatchObject({ state: "batched", batch: { id: batch.id, state: "closed" } });
  const transaction = toHex(randomBytes(32));
  await rest.setBatch(batch.id, "included", transaction, 17);
  const explorerUrl = `https://testnet.xdcscan.com/tx/${transaction}`;
  expect(await view()).toMatchObject({
    state: "batched",
    batch: { state: "included", transaction, block: 17, explorerUrl },
  });
  await rest.setBatch(batch.id, "recorded", transaction, 17);
  expect(await view()).toMatchObject({ state: "recorded", batch: { state: "recorded" } });
});

test("a task without a deadline gets the one of the settings", async () => {
  const { cookie } = await rest.signIn();
  const { deadline } = (await rest.dispatch(cookie)).json();
  expect(deadline).toBe(rest.clock.now() + 3_600_000);
});

test.each([
  [undefined, "body"],
  [{}, "body.kind"],
  [{ kind: "echo" }, "body.echo"],
  [{ kind: "echo", echo: {} }, "body.echo.input"],
  [{ kind: "echo", echo: { input: "0x" } }, "body.echo.input"],
  [{ kind: "echo", echo: { input: 5 } }, "body.echo.input"],
  [{ kind: "echo", echo: { input: "0x00", size: "large" } }, "size"],
  [{ kind: "echo", input: "0x00" }, "body.echo"],
  [{ kind: "wasm", wasm: {} }, `body.kind: the kinds of this coordinator are: ${[...KINDS.names, "echo"].join(", ")}`],
  [{ ...echoRequest(), deadlineSeconds: 1 }, "body.deadlineSeconds"],
  [{ ...echoRequest(), wasm: {} }, "wasm"],
])("refuses the request %o and names the field", async (body, field) => {
  const { cookie } = await rest.signIn();
  const headers = { cookie, origin: ORIGIN };
  const url = "/api/node/dispatch-task";
  const response = await rest.app.inject({ method: "POST", url, headers, ...(body && { payload: body }) });
  expect(response.statusCode).toBe(400);
  expect(response.json()).toMatchObject({ code: "INVALID_REQUEST", detail: expect.stringContaining(field) });
  expect((await rest.store.totals()).tasks.queued).toBe(0);
});

test("only a signed-in requester submits, reads, follows and cancels its tasks", async () => {
  expect((await rest.dispatch("")).json()).toMatchObject({ status: 401, code: "UNAUTHENTICATED" });
  const owner = await rest.signIn();
  const stranger = await rest.signIn();
  const { id } = (await rest.dispatch(owner.cookie)).json();
  for (const path of ["", "/result", "/events"]) {
    const url = `/api/tasks/${id}${path}`;
    expect((await rest.get(url)).json()).toMatchObject({ status: 401, code: "UNAUTHENTICATED" });
    expect((await rest.get(url, stranger.cookie)).json()).toMatchObject({ status: 403, code: "FORBIDDEN" });
  }
  const cancel = (cookie: string) =>
    rest.app.inject({ method: "POST", url: `/api/tasks/${id}/cancel`, headers: { cookie, origin: ORIGIN } });
  expect((await cancel("")).statusCode).toBe(401);
  expect((await cancel(stranger.cookie)).statusCode).toBe(403);
  expect((await rest.get("/api/tasks", stranger.cookie)).json().items).toEqual([]);
  expect((await cancel(owner.cookie)).json()).toMatchObject({ state: "cancelled", error: { code: "CANCELLED" } });
});

test("refuses to cancel a task that has ended", async () => {
  const { cookie } = await rest.signIn();
  const node = await rest.joinNode();
  const { id } = (await rest.dispatch(cookie)).json();
  await rest.complete(node, id);
  const headers = { cookie, origin: ORIGIN };
  const response = await rest.app.inject({ method: "POST", url: `/api/tasks/${id}/cancel`, headers });
  expect(response.json()).toMatchObject({ status: 409, code: "NOT_CANCELLABLE" });
});

test("a repeated request with an Idempotency-Key finds its task, per wallet", async () => {
  const { cookie } = await rest.signIn();
  const headers = { "idempotency-key": "click-1" };
  const { kind, echo } = echoRequest();
  const first = await rest.dispatch(cookie, { kind, echo }, headers);
  const again = await rest.dispatch(cookie, { echo, kind }, headers);
  expect([first.statusCode, again.statusCode]).toEqual([202, 200]);
  expect(again.json().id).toBe(first.json().id);

  const other = await rest.dispatch(cookie, echoRequest("another"), headers);
  expect(other.json()).toMatchObject({ status: 422, code: "IDEMPOTENCY_MISMATCH" });
  const stranger = await rest.signIn();
  const elsewhere = await rest.dispatch(stranger.cookie, echoRequest(), headers);
  expect(elsewhere.statusCode).toBe(202);
  expect(elsewhere.json().id).not.toBe(first.json().id);
  expect((await rest.store.totals()).tasks.queued).toBe(2);
});

test("the id of a task with a key is the digest of requester and key", async () => {
  const { cookie, wallet } = await rest.signIn();
  const { id } = (await rest.dispatch(cookie, undefined, { "idempotency-key": "a" })).json();
  const digest = sha256(Buffer.from(wallet.address.slice(2), "hex"), Buffer.from("a"));
  expect(id).toBe(toHex(digest.subarray(0, 16)));
});

test.each(["", "with space", "ü", "x".repeat(256)])("refuses the Idempotency-Key %j", async (key) => {
  const { cookie } = await rest.signIn();
  const response = await rest.dispatch(cookie, undefined, { "idempotency-key": key });
  expect(response.json()).toMatchObject({ status: 400, code: "INVALID_REQUEST" });
});

test("twenty requests at once with one key make one task", async () => {
  const { cookie } = await rest.signIn();
  const responses = await Promise.all(
    Array.from({ length: 20 }, () => rest.dispatch(cookie, undefined, { "idempotency-key": "burst" })),
  );
  expect(new Set(responses.map((response) => response.json().id)).size).toBe(1);
  expect(responses.filter(({ statusCode }) => statusCode === 202)).toHaveLength(1);
});

test("lists tasks newest first, page by page, without gaps", async () => {
  const { cookie } = await rest.signIn();
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) {
    rest.clock.advance(10);
    ids.unshift((await rest.dispatch(cookie)).json().id);
  }
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = (await rest.get(`/api/tasks?limit=2${cursor ? `&cursor=${cursor}` : ""}`, cookie)).json();
    seen.push(...page.items.map((task: { id: string }) => task.id));
    cursor = page.cursor;
  } while (cursor);
  expect(seen).toEqual(ids);
});

test.each(["limit=0", "limit=101", "limit=x", "cursor=%00"])("a list refuses ?%s", async (query) => {
  const { cookie } = await rest.signIn();
  expect((await rest.get(`/api/tasks?${query}`, cookie)).json()).toMatchObject({
    status: 400,
    code: "INVALID_REQUEST",
  });
});

test("sends a result as bytes with its digest", async () => {
  const { cookie } = await rest.signIn();
  const node = await rest.joinNode();
  const { id } = (await rest.dispatch(cookie)).json();
  const noResult = await rest.get(`/api/tasks/${id}/result`, cookie);
  expect(noResult.json()).toMatchObject({ status: 404, code: "NO_RESULT" });
  const { resultDigest } = await rest.complete(node, id);
  const response = await rest.get(`/api/tasks/${id}/result`, cookie);
  expect([response.statusCode, response.body]).toEqual([200, "hello"]);
  const digest = Buffer.from(fromHex(resultDigest));
  expect(response.headers).toMatchObject({
    "content-type": "application/octet-stream",
    "content-digest": `sha-256=:${digest.toString("base64")}:`,
    etag: `"${digest.toString("hex")}"`,
  });
  const headers = { cookie, "if-none-match": response.headers.etag };
  const cached = await rest.app.inject({ url: `/api/tasks/${id}/result`, headers });
  expect([cached.statusCode, cached.body]).toEqual([304, ""]);
});
