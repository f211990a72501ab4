import axe from "axe-core";
import { expect, it } from "vitest";
import { api, button, connectLocal, openContext, page, useHub } from "./harness.ts";
import { scriptTask, taskState } from "./scripted-task.ts";
import { hex, network, node } from "./scripts.ts";

useHub();

async function inspect(where: string) {
  const overflow = await page.evaluate(
    `(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.documentElement)`,
  );
  expect(overflow, `${where}: horizontal scroll`).toBe(0);
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  expect(found, `${where}: accessibility`).toEqual([]);
}

it.each([
  { width: 360, colorScheme: "dark" as const },
  { width: 1280, colorScheme: "light" as const },
])("every page fits and is accessible: $width px, $colorScheme", async ({ width, colorScheme }) => {
  await openContext({ viewport: { width, height: 800 }, colorScheme, reducedMotion: "reduce" });
  await page.goto(api.url);
  await page.getByText("21,037,056").waitFor();
  await inspect("welcome");
  await button("Connect wallet").click();
  await inspect("choice of a wallet");
  await page.keyboard.press("Escape");

  const wallet = await connectLocal();
  await inspect("connected");
  await button("Sign in").click();
  await page.getByText("Nothing requested yet.").waitFor();
  await inspect("signed in, with nothing yet");

  const { views, become } = scriptTask(wallet);
  const items = Object.values(views).map((view, at) => ({ ...view, id: at === 0 ? view.id : hex(16, `0${at}`) }));
  const nodes = [node("a1f3", wallet), node("77e0", wallet, { status: "offline", live: undefined })];
  api
    .on("GET /api/node/status", () => ({ body: { wallet, xdcWallet: "", nodes } }))
    .on("GET /api/tasks", () => ({ body: { items, cursor: "older" } }));
  await button("Request compute task").click();
  become(views.running);
  await taskState("running").waitFor();
  await inspect("running");
  become(views.failed);
  await taskState("failed").waitFor();
  await page.getByText("Confirmed by its wallet").first().waitFor();
  await inspect("failed");

  become(views.recorded);
  await page.goto(`${api.url}/tasks/${views.recorded.id}`);
  await taskState("recorded").waitFor();
  await inspect("task");
  await page.goto(`${api.url}/network`);
  await page
    .getByText("Waiting for finality")
    .or(page.getByText("Recorded", { exact: true }))
    .first()
    .waitFor();
  await inspect("network");
  const reason = "The recorder has 0.02 XDC left; a batch costs about 0.05.";
  api.on("GET /api/network", () => ({
    body: network({ settlement: { state: "stopped", reason, openBatches: 4 } }),
  }));
  await page.getByText(reason).waitFor();
  await inspect("network, settlement stopped");
  await page.goto(`${api.url}/nowhere`);
  await page.getByText("The hub has no page at this address.").waitFor();
  await inspect("not found");
});

it("keeps the chosen colours after a reload, from the first paint on", async () => {
  await page.goto(api.url);
  await page.getByRole("radio", { name: "Dark" }).check({ force: true });
  await page.locator("html.dark").waitFor();
  await page.reload({ waitUntil: "commit" });
  await page.waitForSelector("body");
  expect(await page.locator("html.dark").count()).toBe(1);
});
