import { KINDS } from "@proof-of-compute/coordinator/kinds/index";
import { afterAll, expect, it } from "vitest";
import { echo } from "../support/echo/coordinator.ts";
import { buildEchoHub, type EchoHub } from "../support/echo/hub.ts";
import { api, button, page, signIn, useHub } from "./harness.ts";
import { scriptTask, taskState } from "./scripted-task.ts";
import { config, pagesOf } from "./scripts.ts";

let hub: EchoHub | undefined;

useHub(async () => {
  hub = await buildEchoHub();
  return hub.build;
});

afterAll(() => hub?.[Symbol.asyncDispose]());

const HELLO = { input: "0x68656c6c6f" };

it("requests and shows tasks of a kind that a folder and a line added", async () => {
  api.on("GET /api/config", () => ({ body: config(api.url, {}, KINDS.with(echo)) }));
  const { views, requests, become } = scriptTask(await signIn());
  const echoed = (view: object) => ({ ...view, kind: "echo", matmul: undefined, echo: HELLO, units: "5" });

  const choice = page.getByRole("group", { name: "Kind of task" });
  expect(await choice.getByRole("radio").count()).toBe(2);
  await page.getByText("Medium", { exact: true }).waitFor();
  await choice.getByText("Echo", { exact: true }).click();
  await page.getByText("A node sends the text back. One unit is one byte.").waitFor();
  await page.getByText("The coordinator compares both texts.").waitFor();
  expect(await page.getByText("Medium", { exact: true }).count()).toBe(0);
  // The fields ask for nothing yet.
  expect(await button("Request compute task").isDisabled()).toBe(true);

  await page.getByLabel("Text").fill("hello");
  become(echoed(views.queued));
  api.on("GET /api/tasks", pagesOf([echoed(views.queued) as never]));
  await button("Request compute task").click();
  await taskState("queued").waitFor();
  expect(requests[0]?.body).toEqual({ kind: "echo", echo: HELLO });
  await page.getByRole("cell", { name: "Echo of “hello”" }).waitFor();
  become(echoed(views.verified));
  await page.getByText("The answer is the text that was sent.").waitFor();

  await page.locator("tbody a[href^='/tasks/']").click();
  const text = page.locator("dl > div", { has: page.getByRole("term").getByText("Text", { exact: true }) });
  expect(await text.getByRole("definition").textContent()).toBe("hello");

  // The hub's own kind is still there.
  await page.goBack();
  await choice.getByText("Matrix product", { exact: true }).click();
  become(views.queued);
  await button("Request compute task").click();
  await expect.poll(() => requests[1]?.body).toEqual({ kind: "matmul", matmul: { n: 1024, k: 5 } });
});
