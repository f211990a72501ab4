import { get } from "node:http";
import type { AddressInfo } from "node:net";
import type { Hex } from "@proof-of-compute/proto";
import { type EventReader, followTask } from "@proof-of-compute/tests/support/event-reader";
import { type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ComputeError } from "../../../domain/errors.ts";
import { REST_LIMITS } from "../limits/limits.ts";

let rest: RestHarness;
const open: EventReader[] = [];
beforeEach(async () => {
  rest = await startRest({ init: { limits: { streamsPerWallet: 3 } } });
  await rest.listen();
});
afterEach(async () => {
  for (const reader of open.splice(0)) reader.close();
  await rest.stop();
});

async function follow(id: Hex, cookie: string, lastEventId?: string): Promise<EventReader> {
  const reader = await followTask(rest.app, id, cookie, lastEventId);
  open.push(reader);
  return reader;
}

/** Lets the clock run in small steps until the condition holds. */
async function until(condition: () => boolean): Promise<void> {
  await expect
    .poll(
      async () => {
        await rest.clock.run(50);
        return condition();
      },
      { interval: 5, timeout: 10_000 },
    )
    .toBe(true);
}

async function newTask() {
  const { wallet, cookie } = await rest.signIn();
  const { id } = (await rest.dispatch(cookie)).json() as { id: Hex };
  return { wallet, cookie, id };
}

test("a stream sends the current state, then every state up to recorded, and ends", async () => {
  const { cookie, id } = await newTask();
  const reader = await follow(id, cookie);
  expect(reader.response.headers).toMatchObject({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  await until(() => reader.events.length === 1);
  expect(reader.last).toEqual((await rest.get(`/api/tasks/${id}`, cookie)).json());

  const node = await rest.joinNode();
  await until(() => reader.last?.state === "running");
  rest.leases.advance(rest.runOf(node, id), 0.25);
  await until(() => reader.last?.progress === 0.25);
  await rest.complete(node, id);
  await until(() => reader.last?.state === "verified");
  const batch = await rest.closeBatch();
  await until(() => reader.last?.batch?.state === "closed");
  await rest.setBatch(batch.id, "included", `0x${"ab".repeat(32)}`, 7);
  await until(() => reader.last?.batch?.state === "included");
  expect(reader.last?.state).toBe("batched");
  expect(reader.ended).toBe(false);
  await rest.setBatch(batch.id, "recorded", `0x${"ab".repeat(32)}`, 7);
  await until(() => reader.ended);
  expect(reader.last?.state).toBe("recorded");
  const ids = reader.events.map((event) => event.id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(rest.events.size).toBe(0);
});

test("a reader that reconnects with its last event id gets no event twice, and 204 after the final state", async () => {
  const { cookie, id } = await newTask();
  const first = await follow(id, cookie);
  await until(() => first.events.length === 1);
  first.close();
  const again = await follow(id, cookie, first.events[0]!.id);
  await until(() => again.response.complete || rest.events.size === 1);
  await rest.clock.run(1_000, 100);
  expect(again.events).toEqual([]);
  await rest.scheduler.cancel(id);
  await until(() => again.ended);
  expect(again.events.map(({ view }) => view.state)).toEqual(["cancelled"]);

  const settled = await follow(id, cookie);
  await until(() => settled.ended);
  expect(settled.last?.state).toBe("cancelled");
  const over = await follow(id, cookie, settled.events[0]!.id);
  expect(over.response.statusCode).toBe(204);
});

test("an unknown Last-Event-ID gets the current state first", async () => {
  const { cookie, id } = await newTask();
  const reader = await follow(id, cookie, "1.000000000000");
  await until(() => reader.events.length === 1);
  expect(reader.last?.state).toBe("queued");
});

test("a burst of progress becomes few events, with the newest among them", async () => {
  const { cookie, id } = await newTask();
  const node = await rest.joinNode();
  const reader = await follow(id, cookie);
  await until(() => reader.last?.state === "running");
  await rest.clock.run(1_000, 100);
  const before = reader.events.length;
  const run = rest.runOf(node, id);
  for (let i = 1; i <= 100; i++) {
    rest.leases.advance(run, i / 100);
    await rest.clock.run(10);
  }
  await until(() => reader.last?.progress === 1);
  // One second at five a second, and one more for where the second began.
  expect(reader.events.length - before).toBeLessThanOrEqual(6);
});

test("a ping reveals changes that no event announced", async () => {
  const { cookie, id } = await newTask();
  const reader = await follow(id, cookie);
  await until(() => reader.events.length === 1);
  const task = (await rest.store.task(id))!;
  await rest.store.saveTask({ ...task, version: task.version + 1, attempts: 1 });
  await rest.clock.run(15_000);
  await until(() => reader.comments === 1 && reader.last?.attempts === 1);
});

test("pings come well within the time after which a silent connection is closed", async () => {
  const { cookie, id } = await newTask();
  const reader = await follow(id, cookie);
  await until(() => reader.events.length === 1);
  await rest.clock.run(REST_LIMITS.connectionTimeoutMs / 2, 1_000);
  await expect.poll(() => reader.comments).toBeGreaterThan(0);
});

test("a stream survives an unavailable store, and then sends the task's new state", async () => {
  const { cookie, id } = await newTask();
  const reader = await follow(id, cookie);
  await until(() => reader.events.length === 1);
  const { task } = rest.store;
  rest.store.task = () => Promise.reject(new ComputeError("UNAVAILABLE"));
  for (let pings = 1; pings <= 3; pings++) {
    rest.events.publish(id);
    await rest.clock.run(15_000);
    await until(() => reader.comments >= pings);
  }
  expect([reader.events.length, reader.ended]).toEqual([1, false]);
  expect((await rest.get(`/api/tasks/${id}`, cookie)).json()).toMatchObject({ status: 503, code: "UNAVAILABLE" });
  rest.store.task = task;
  await rest.joinNode();
  await until(() => reader.last?.state === "running");
});

test("a stream ends with its session", async () => {
  const { cookie, id } = await newTask();
  const reader = await follow(id, cookie);
  await until(() => reader.events.length === 1);
  const headers = { cookie };
  await rest.app.inject({ method: "POST", url: "/api/auth/sign-out", headers });
  await rest.clock.run(15_000);
  await until(() => reader.ended);
});

test("bounds a wallet's streams across its sessions; a closed stream makes room", async () => {
  const { wallet, cookie, id } = await newTask();
  const { cookie: elsewhere } = await rest.signIn(wallet);
  const readers = [await follow(id, cookie), await follow(id, cookie), await follow(id, elsewhere)];
  for (const session of [cookie, elsewhere]) {
    const refused = await follow(id, session);
    expect(refused.response.statusCode).toBe(429);
    expect(refused.response.headers["retry-after"]).toBe("2");
  }
  const other = await newTask();
  expect((await follow(other.id, other.cookie)).response.statusCode).toBe(200);
  readers[0]!.close();
  await expect.poll(async () => (await follow(id, elsewhere)).response.statusCode).toBe(200);
});

/** Makes the store wait with its answers until it is told; `count` is how many it was asked for. */
function holdTasks() {
  const task = rest.store.task.bind(rest.store);
  const { promise, resolve } = Promise.withResolvers<void>();
  const asked = { count: 0, answer: resolve };
  rest.store.task = async (id) => {
    asked.count++;
    await promise;
    return task(id);
  };
  return asked;
}

test("the bound holds for streams that open at once", async () => {
  const { cookie, id } = await newTask();
  const store = holdTasks();
  const opening = Promise.all(Array.from({ length: 6 }, () => follow(id, cookie)));
  await expect.poll(() => store.count).toBe(6);
  store.answer();
  const statuses = (await opening).map(({ response }) => response.statusCode);
  expect(statuses.sort()).toEqual([200, 200, 200, 429, 429, 429]);
});

test("a reader that leaves while its stream opens leaves no stream behind", async () => {
  const { cookie, id } = await newTask();
  const { port } = rest.app.server.address() as AddressInfo;
  const store = holdTasks();
  const left = new Promise((resolve) => rest.app.server.once("connection", (socket) => socket.once("close", resolve)));
  const reader = get({ port, path: `/api/tasks/${id}/events`, headers: { cookie } }).on("error", () => {});
  await expect.poll(() => store.count).toBe(1);
  reader.destroy();
  await left;
  store.answer();
  const after = [await follow(id, cookie), await follow(id, cookie), await follow(id, cookie)];
  expect(after.map(({ response }) => response.statusCode)).toEqual([200, 200, 200]);
});

test("a reader that does not read has one pending event, not a queue", async () => {
  const { cookie, id } = await newTask();
  const reader = await follow(id, cookie);
  await until(() => reader.events.length === 1);
  reader.response.pause();
  const padding = "x".repeat(200_000);
  for (let i = 0; i < 60; i++) {
    const task = (await rest.store.task(id))!;
    const error = { code: "TEST", detail: `${i} ${padding}` };
    await rest.store.saveTask({ ...task, version: task.version + 1, error });
    rest.events.publish(id);
    await rest.clock.run(200);
  }
  reader.response.resume();
  await until(() => reader.last?.error?.detail.startsWith("59 ") === true);
  expect(reader.events.length).toBeLessThan(60);
});

test("closing the server ends its streams", async () => {
  const { cookie, id } = await newTask();
  const reader = await follow(id, cookie);
  await until(() => reader.events.length === 1);
  await rest.app.close();
  await expect.poll(() => reader.ended).toBe(true);
  expect(rest.events.size).toBe(0);
});
