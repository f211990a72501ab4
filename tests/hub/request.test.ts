import { expect, it } from "vitest";
import { api, button, linesOf, openContext, page, signIn, useHub } from "./harness.ts";
import { problem } from "./scripted-api.ts";
import { scriptTask, taskState } from "./scripted-task.ts";
import { chain, network } from "./scripts.ts";

useHub();

it("estimates how long each preset takes on the nodes that are online", async () => {
  await signIn();
  await page.getByText("~16 s").waitFor();
  expect(await page.getByTitle("Estimated time on a node that is online").allTextContents()).toEqual([
    "Estimated time: <\u00a01\u00a0s",
    "Estimated time: <\u00a01\u00a0s",
    "Estimated time: ~1\u00a0s",
    "Estimated time: ~16\u00a0s",
  ]);
  api.on("GET /api/network", () => ({ body: network({ unitsPerSecond: {} }) }));
  await page.reload();
  await page.getByText("16,384 units", { exact: true }).waitFor();
  expect(await page.getByText("~16 s").count()).toBe(0);
});

it("keeps each row of a preset on one line", async () => {
  await openContext({ viewport: { width: 1440, height: 900 } });
  await signIn();
  await page.getByText("~16 s").waitFor();
  const rows = await page
    .locator("label", { has: page.getByRole("radio") })
    .locator("> span")
    .all();
  expect(rows.length).toBeGreaterThanOrEqual(8);
  for (const row of rows) expect(await linesOf(row), (await row.textContent()) ?? "").toBe(1);
});

it("follows a task from the click to the recorded units", async () => {
  const wallet = await signIn();
  const { views, requests, become } = scriptTask(wallet);
  await button("Request compute task").click();
  await taskState("queued").waitFor();
  await page.getByText("No online node serves kind matmul.").waitFor();
  expect(requests[0]?.body).toEqual({ kind: "matmul", matmul: { n: 1024, k: 5 } });

  become(views.running);
  await taskState("running").waitFor();
  expect(await page.getByRole("progressbar").getAttribute("aria-valuenow")).toBe("42");
  become(views.verified);
  await taskState("verified").waitFor();
  await page.getByText("Freivalds").waitFor();
  become(views.batched);
  await taskState("batched").waitFor();
  api.on("POST /rpc", chain(1_310_720n));
  become(views.recorded);
  await taskState("recorded").waitFor();
  await page.getByText("1,310,720").waitFor();
  expect(await button("Cancel task").count()).toBe(0);
});

it("does not request a task twice when an answer is lost", async () => {
  const wallet = await signIn();
  const { requests } = scriptTask(wallet);
  const accept = api.routes.get("POST /api/node/dispatch-task")!;
  api.on("POST /api/node/dispatch-task", async (call) => {
    await accept(call);
    return problem(503, "UNAVAILABLE", "The store does not answer.");
  });
  await button("Request compute task").click();
  await page.getByText("The task was not accepted").waitFor();
  api.on("POST /api/node/dispatch-task", accept);
  await button("Try again").click();
  await taskState("queued").waitFor();
  await button("Request compute task").click();
  await expect.poll(() => requests.length).toBe(3);

  const [first, again, next] = requests.map(({ headers }) => headers["idempotency-key"]);
  expect(again).toBe(first);
  expect(next).not.toBe(first);
});

it("cancels a task", async () => {
  const wallet = await signIn();
  const { views, become } = scriptTask(wallet);
  api.on("POST /api/tasks/*/cancel", () => {
    become(views.cancelled);
    return { body: views.cancelled };
  });
  await button("Request compute task").click();
  await button("Cancel task").click();
  await taskState("cancelled").waitFor();
});

it("says why a task failed", async () => {
  const wallet = await signIn();
  const { views, become } = scriptTask(wallet);
  await button("Request compute task").click();
  await taskState("queued").waitFor();
  become(views.failed);
  await taskState("failed").waitFor();
  await page.getByText("3 nodes failed; the last said: OUT_OF_MEMORY").waitFor();
});

it("follows a task after a lost connection and after a reload", async () => {
  const wallet = await signIn();
  const { views, become } = scriptTask(wallet);
  api.on("GET /api/tasks", () => ({ body: { items: [views.running] } }));
  await button("Request compute task").click();
  await taskState("queued").waitFor();
  api.dropConnections();
  become(views.running);
  await taskState("running").waitFor();
  await page.reload();
  await taskState("running").waitFor();
});
