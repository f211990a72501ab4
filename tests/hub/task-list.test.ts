import { expect, it } from "vitest";
import { api, button, page, signIn, useHub } from "./harness.ts";
import { OTHER_WALLET, pagesOf, task } from "./scripts.ts";

useHub();

const START = Date.now() - 3_600_000;
let made = 0;

/** Makes `count` tasks of one wallet, newest first, each newer than all before. */
function make(count: number, state: string) {
  const tasks = Array.from({ length: count }, () => {
    made++;
    return task(OTHER_WALLET, {
      id: `0x${made.toString(16).padStart(32, "0")}`,
      state,
      createdAt: START + made * 1_000,
    });
  });
  return tasks.reverse();
}

const links = () => page.locator("tbody a[href^='/tasks/']");
const listed = () =>
  links().evaluateAll((all) =>
    all.map((link) => (link as unknown as { pathname: string }).pathname.replace("/tasks/", "")),
  );
const inState = (state: string) => page.locator(`tbody [data-state=${state}]`).count();

it("updates every row, on older pages too, while new tasks keep coming", async () => {
  const first = make(12, "verified");
  const all = [...first];
  const answer = pagesOf(all);
  api.on("GET /api/tasks", answer).on("GET /api/tasks/*", ({ params }) => ({
    body: all.find(({ id }) => id === params[0]),
  }));
  await signIn();
  await button("Show older tasks").click();
  await expect.poll(() => inState("verified")).toBe(12);

  for (const known of first) known.state = "recorded";
  api.on("GET /api/tasks", (call) => {
    if (!call.query.has("cursor")) all.unshift(...make(3, "verified"));
    return answer(call);
  });
  await expect.poll(() => inState("recorded"), { timeout: 30_000 }).toBe(12);
});

it("misses no row, however many tasks were added since the last reading", async () => {
  const all = make(12, "recorded");
  api.on("GET /api/tasks", pagesOf(all));
  await signIn();
  await expect.poll(() => links().count()).toBe(10);

  all.unshift(...make(23, "recorded"));
  await expect.poll(async () => (await listed())[0], { timeout: 30_000 }).toBe(all[0]?.id);
  for (const shown of [20, 30, 35]) {
    await button("Show older tasks").click();
    await expect.poll(() => links().count()).toBe(shown);
  }
  expect(await listed()).toEqual(all.map(({ id }) => id));
  expect(await button("Show older tasks").count()).toBe(0);
});

it("adds a row for a task that was just requested, and keeps it current", async () => {
  const all = make(12, "recorded");
  api.on("GET /api/tasks", pagesOf(all));
  await signIn();
  await expect.poll(() => links().count()).toBe(10);

  let send: (view: unknown) => void = () => {};
  api
    .on("POST /api/node/dispatch-task", () => {
      all.unshift(...make(15, "recorded"));
      all.unshift(...make(1, "queued"));
      return { status: 202, body: all[0] };
    })
    .on("GET /api/tasks/*/events", () => ({
      events: (write) => {
        send = write;
      },
    }));
  await button("Request compute task").click();
  await expect.poll(() => inState("queued")).toBe(1);
  for (const shown of [20, 28]) {
    await button("Show older tasks").click();
    await expect.poll(() => links().count()).toBe(shown);
  }
  expect(await listed()).toEqual(all.map(({ id }) => id));

  // The list is no longer read: the row changes with the task that the page follows.
  api.on("GET /api/tasks", () => new Promise(() => {}));
  send({ ...all[0], state: "running" });
  await expect.poll(() => inState("running")).toBe(1);
});
