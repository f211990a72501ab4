import { expect, it } from "vitest";
import { api, button, page, signIn, useHub } from "./harness.ts";
import { config, OTHER_WALLET, pagesOf, task } from "./scripts.ts";

useHub();

/** A task of a kind that this hub does not know, as a newer coordinator shows it. */
const unknown = (change: Record<string, unknown> = {}) =>
  task(OTHER_WALLET, { kind: "wasm", wasm: { module: "0x00" }, units: undefined, maxUnits: "4096", ...change });

it("shows a task of an unknown kind without its parameters", async () => {
  await signIn();
  api.on("GET /api/tasks", pagesOf([unknown()])).on("GET /api/tasks/*", () => ({ body: unknown() }));
  await page.reload();
  const row = page.locator("tbody tr", { has: page.locator("a[href^='/tasks/']") });
  await row.waitFor();
  expect(await row.locator("td").allTextContents()).toEqual([
    expect.any(String),
    expect.stringContaining("Queued"),
    "wasm",
    "up to 4,096",
    expect.any(String),
  ]);
  await row.locator("a").click();
  const fact = (term: string) =>
    page.locator("dl > div", { has: page.getByRole("term").getByText(term, { exact: true }) });
  expect(await fact("Kind").getByRole("definition").textContent()).toBe("wasm");
  expect(await fact("Compute units").getByRole("definition").textContent()).toBe("up to 4,096");
});

it("shows a task that its coordinator does not know without its parameters", async () => {
  await signIn();
  const known = task(OTHER_WALLET, { matmul: undefined, units: undefined });
  api.on("GET /api/tasks", pagesOf([known])).on("GET /api/tasks/*", () => ({ body: known }));
  await page.reload();
  await page.getByRole("cell", { name: "matmul", exact: true }).waitFor();
  await page.goto(`${api.url}/tasks/${known.id}`);
  await page.getByRole("definition").getByText("matmul", { exact: true }).waitFor();
});

it("requests nothing where the coordinator offers unknown kinds only", async () => {
  api.on("GET /api/config", () => ({ body: config(api.url, { kinds: [{ kind: "wasm", wasm: {}, presets: [] }] }) }));
  await signIn();
  await page.getByText("This version of the hub knows no kind of task that the coordinator offers.").waitFor();
  expect(await button("Request compute task").isDisabled()).toBe(true);
});

it("offers no choice of kind where there is one kind", async () => {
  await signIn();
  await page.getByText("Small", { exact: true }).waitFor();
  expect(await page.getByRole("group", { name: "Kind of task" }).count()).toBe(0);
});
