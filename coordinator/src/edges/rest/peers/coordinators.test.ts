import type { Hex } from "@proof-of-compute/proto";
import { echoRequest } from "@proof-of-compute/tests/support/echo/coordinator";
import { type EventReader, followTask } from "@proof-of-compute/tests/support/event-reader";
import { cookies, ORIGIN, type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { Wallet } from "ethers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { VERSION } from "../../../version.ts";

/** Two coordinators of one network: one store, one clock, each with its own facade. */
let first: RestHarness;
let second: RestHarness;
const readers: EventReader[] = [];
/** For what happens by itself, however slow the machine is. */
const SOON = { interval: 5, timeout: 10_000 };
beforeEach(async () => {
  first = await startRest();
  await first.listen();
  second = await startRest({ beside: first });
  await second.listen();
  // Until the first has seen the second.
  await expect
    .poll(async () => {
      await first.clock.run(1_000);
      return first.peers.others().length;
    }, SOON)
    .toBe(1);
});
afterEach(async () => {
  for (const reader of readers.splice(0)) reader.close();
  await second.stop();
  await first.stop();
});

async function follow(at: RestHarness, id: Hex, cookie: string): Promise<EventReader> {
  const reader = await followTask(at.app, id, cookie);
  readers.push(reader);
  return reader;
}

/** Lets the clock run in steps until the condition holds. */
async function until(condition: () => boolean, stepMs = 50): Promise<void> {
  await expect
    .poll(async () => {
      await first.clock.run(stepMs);
      return condition();
    }, SOON)
    .toBe(true);
}

const post = (at: RestHarness, url: string, cookie: string) =>
  at.app.inject({ method: "POST", url, headers: { cookie, origin: ORIGIN } });
const taskAt = async (at: RestHarness, id: Hex, cookie: string) => (await at.get(`/api/tasks/${id}`, cookie)).json();

test("a browser gets a nonce at one coordinator, signs in at another, and is signed in at both", async () => {
  const { nonce, cookie } = await first.askNonce();
  const body = await first.signed(Wallet.createRandom(), { nonce });
  const stranger = await second.askNonce();
  expect((await second.sendSignIn(body, stranger.cookie)).json().detail).toContain("another browser");
  const signedIn = await second.sendSignIn(body, cookie);
  expect(signedIn.statusCode).toBe(200);
  expect((await second.sendSignIn(body, cookie)).json().detail).toContain("used or has expired");
  const session = cookies(signedIn.headers["set-cookie"]);
  for (const one of [first, second]) {
    expect((await one.get("/api/auth/session", session)).json().session).not.toBeNull();
  }
});

test("a nonce expires at every coordinator", async () => {
  const { nonce, cookie } = await first.askNonce();
  first.clock.jump(5 * 60_000);
  const response = await second.sendSignIn(await second.signed(Wallet.createRandom(), { nonce }), cookie);
  expect(response.json().detail).toContain("used or has expired");
});

test("one Idempotency-Key sent to both at once makes one task", async () => {
  const { cookie } = await first.signIn();
  for (let round = 0; round < 20; round++) {
    const headers = { "idempotency-key": `key-${round}` };
    const answers = await Promise.all([first, second].map((one) => one.dispatch(cookie, undefined, headers)));
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([200, 202]);
    const [one, other] = answers.map((answer) => answer.json().id);
    expect(one).toBe(other);
    await post(first, `/api/tasks/${one}/cancel`, cookie);
  }
  const { tasks } = await first.store.totals();
  expect(tasks).toMatchObject({ queued: 0, cancelled: 20 });
});

test("the second of two bodies with one Idempotency-Key is refused", async () => {
  const { cookie } = await first.signIn();
  const headers = { "idempotency-key": "key" };
  const answers = await Promise.all([
    first.dispatch(cookie, echoRequest("one"), headers),
    second.dispatch(cookie, echoRequest("other"), headers),
  ]);
  expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([202, 422]);
});

test("a reader follows a task at one coordinator while it runs at another", async () => {
  const { cookie } = await first.signIn();
  const { id } = (await first.dispatch(cookie)).json() as { id: Hex };
  const reader = await follow(second, id, cookie);
  await until(() => reader.last?.state === "queued");
  const node = await first.joinNode();
  await until(() => reader.last?.state === "running");
  first.leases.advance(first.runOf(node, id), 0.25);
  await until(() => reader.last?.progress === 0.25);
  expect((await taskAt(second, id, cookie)).progress).toBe(0.25);
  await first.complete(node, id);
  await until(() => reader.last?.state === "verified");
  // Settlement runs at the first one only.
  const { id: batchId } = await first.closeBatch();
  await until(() => reader.last?.state === "batched");
  await first.setBatch(batchId, "recorded");
  await until(() => reader.ended);
  expect(reader.last?.state).toBe("recorded");
});

test("a reader follows a task across the loss of the coordinator that runs it", async () => {
  const { cookie } = await first.signIn();
  const { id } = (await second.dispatch(cookie)).json() as { id: Hex };
  const node = await second.joinNode();
  const reader = await follow(first, id, cookie);
  await until(() => reader.last?.state === "running");
  second.leases.advance(second.runOf(node, id), 0.5);
  await until(() => reader.last?.progress === 0.5);
  await second.stop();
  // Its node stays away, so the lease ends; then another node is given the task.
  await until(() => reader.last?.assignments[0]?.state === "lost", 1_000);
  const other = await first.joinNode();
  await until(() => reader.last?.state === "running");
  await first.complete(other, id);
  await until(() => reader.last?.state === "verified");
  expect(reader.last?.assignments.map(({ state }) => state)).toEqual(["lost", "accepted"]);
});

test("a task is cancelled at one coordinator while it runs at another", async () => {
  const { cookie } = await first.signIn();
  const { id } = (await first.dispatch(cookie)).json() as { id: Hex };
  const node = await first.joinNode();
  const cancelled: Hex[] = [];
  node.link!.cancel = (assignmentId) => void cancelled.push(assignmentId);
  await expect.poll(async () => (await taskAt(first, id, cookie)).state, SOON).toBe("running");
  const run = first.runOf(node, id);
  const response = await post(second, `/api/tasks/${id}/cancel`, cookie);
  expect([response.statusCode, response.json().state]).toEqual([200, "cancelling"]);
  // By the nudge alone: the clock stands still.
  await expect.poll(() => cancelled, SOON).toEqual([run.id]);
  await first.leases.end(run, "cancelled", "CANCELLED");
  expect((await taskAt(second, id, cookie)).state).toBe("cancelled");
});

test("both show the same network, and each names the coordinator that answers", async () => {
  await first.joinNode();
  await second.joinNode();
  const views = [];
  for (const one of [first, second]) {
    const { nodes, coordinators } = (await one.get("/api/network")).json();
    expect(nodes).toEqual({ online: 2, suspect: 0 });
    views.push(coordinators.map(({ id, self }: { id: string; self?: true }) => [id, self]));
    expect(coordinators[0]).toEqual(expect.objectContaining({ version: VERSION, startedAt: expect.any(Number) }));
    expect(JSON.stringify(coordinators)).not.toContain("127.0.0.1");
  }
  expect(views).toEqual([
    [
      ["first", true],
      ["second", undefined],
    ],
    [
      ["first", undefined],
      ["second", true],
    ],
  ]);
  expect((await second.get("/api/nodes?status=online")).json().items).toHaveLength(2);
  await second.stop();
  first.clock.advance(2_000);
  expect((await first.get("/api/network")).json().coordinators).toMatchObject([{ id: "first" }]);
});

test("a result accepted at one coordinator is downloaded at another", async () => {
  const { cookie } = await first.signIn();
  const { id } = (await first.dispatch(cookie)).json() as { id: Hex };
  const node = await first.joinNode();
  await expect.poll(async () => (await taskAt(first, id, cookie)).state, SOON).toBe("running");
  await first.complete(node, id);
  expect((await second.get(`/api/tasks/${id}/result`, cookie)).rawPayload).toEqual(Buffer.from("hello"));
});

test("a deleted task is not found, and its receipt is", async () => {
  const { cookie } = await first.signIn();
  const { id } = (await first.dispatch(cookie)).json() as { id: Hex };
  const node = await first.joinNode();
  await expect.poll(async () => (await taskAt(first, id, cookie)).state, SOON).toBe("running");
  const { receiptId } = await first.complete(node, id);
  expect(await first.store.pruneTasks(first.clock.now() + 1, 10)).toBe(1);
  const gone = (await second.get(`/api/tasks/${id}`, cookie)).json();
  expect(gone).toMatchObject({ status: 404, code: "NOT_FOUND", detail: expect.stringContaining("only its receipt") });
  expect((await second.get(`/api/receipts/${receiptId}`)).statusCode).toBe(200);
});
