import { expect, it } from "vitest";
import { api, button, connectLocal, page, signIn, useHub } from "./harness.ts";
import { problem } from "./scripted-api.ts";
import { scriptTask, taskState } from "./scripted-task.ts";
import { hex, network, OTHER_WALLET, stages } from "./scripts.ts";

useHub();

it("shows the evidence of a task to its requester only", async () => {
  await connectLocal();
  const { id } = stages(OTHER_WALLET).recorded;
  await page.goto(`${api.url}/tasks/${id}`);
  await page.getByText("Only its requester can see this task.").waitFor();
  await button("Sign in").click();
  await taskState("recorded").waitFor();
  for (const term of ["Spec digest", "Node", "Assignment", "Result digest", "Receipt", "Batch root", "Transaction"]) {
    await page
      .getByRole("term")
      .filter({ hasText: new RegExp(`^${term}$`) })
      .waitFor();
  }
});

it("says that a task does not exist", async () => {
  await signIn();
  api.on("GET /api/tasks/*", () => problem(404, "NOT_FOUND", "there is no such task"));
  await page.goto(`${api.url}/tasks/${hex(16, "00")}`);
  await page.getByText("There is no task with this id, or it is no longer kept.").waitFor();
});

it("says that its requester cancelled a task, without calling it a failure", async () => {
  const { views } = scriptTask(await signIn());
  api.on("GET /api/tasks/*", () => ({ body: views.cancelled }));
  await page.goto(`${api.url}/tasks/${views.cancelled.id}`);
  await page.getByText("Cancelled by its requester.", { exact: true }).waitFor();
  expect(await page.locator("[data-step=running]").getAttribute("data-status")).toBe("cancelled");
  expect(await page.locator("tbody").textContent()).not.toContain("CANCELLED");

  api.on("GET /api/tasks/*", () => ({ body: views.failed }));
  await page.reload();
  await page.getByText("OUT_OF_MEMORY", { exact: true }).waitFor();
  expect(await page.locator("[data-step=running]").getAttribute("data-status")).toBe("failed");
});

it("says why a verified task is not recorded yet", async () => {
  const { views } = scriptTask(await signIn());
  const reason = "the RPC failed: request timeout";
  api
    .on("GET /api/tasks/*", () => ({ body: views.verified }))
    .on("GET /api/tasks/*/events", () => ({ events: (write) => write(views.verified) }))
    .on("GET /api/network", () => ({ body: network({ settlement: { state: "waiting", reason, openBatches: 1 } }) }));
  await page.goto(`${api.url}/tasks/${views.verified.id}`);
  await page.getByText("The RPC failed: request timeout.", { exact: true }).waitFor();
});
