import { LINKS } from "@proof-of-compute/proto/links";
import { writeReceipt } from "@proof-of-compute/proto/verify";
import { expect, it } from "vitest";
import { makeReceipt } from "../support/receipts.ts";
import { api, button, page, useHub } from "./harness.ts";
import { config } from "./scripts.ts";

useHub();

const ELSEWHERE = "http://192.168.1.20:8545";
const REASON = `This page can only connect over https or to this machine, not to ${ELSEWHERE}.`;
const rpc = () => page.getByLabel("JSON-RPC of the chain");
const validation = () =>
  rpc().evaluate((input) => (input as unknown as { validationMessage: string }).validationMessage);

it("names an RPC that the page may not connect to while it is typed, and does not check", async () => {
  await page.goto(`${api.url}/verify`);
  await page.getByLabel("Text of the receipt").fill("{}");
  await rpc().fill(`${ELSEWHERE}/key`);
  await page.getByText(REASON).waitFor();
  expect(await validation()).toBe(REASON);
  await button("Check").click();
  expect(await page.locator("[data-link][data-status=open]").count()).toBe(LINKS.length);

  for (const url of ["https://erpc.apothem.network", "http://127.0.0.1:8545", ""]) {
    await rpc().fill(url);
    await expect.poll(validation).toBe("");
    expect(await page.getByText(REASON).count()).toBe(0);
  }
  await button("Check").click();
  await page.locator("[data-verdict=broken]").waitFor();
});

it("calls a receipt unproven when the page may not connect to the chain or to the result", async () => {
  const { content } = makeReceipt();
  const text = writeReceipt({ ...content, result: { available: true, url: `${ELSEWHERE}/result` } });
  api.on("GET /api/config", () => ({ body: config(api.url, { rpcUrl: `${ELSEWHERE}/key` }) }));
  await page.goto(`${api.url}/verify`);
  await page.getByLabel("Choose a file").setInputFiles({
    name: "receipt.json",
    mimeType: "application/json",
    buffer: Buffer.from(text),
  });
  await page.locator("[data-verdict=unproven]").waitFor();
  for (const link of ["root on chain", "result digest"]) {
    const row = page.locator(`[data-link="${link}"]`);
    expect(await row.getAttribute("data-status")).toBe("unchecked");
    await row.getByText(REASON).waitFor();
  }
});

it("does not call a text that is no receipt broken", async () => {
  await page.goto(`${api.url}/verify`);
  await page.getByLabel("Text of the receipt").fill("0x1234");
  await button("Check").click();
  await page.getByText("This is not a receipt").waitFor();
  expect(await page.getByText("Do not trust this receipt").count()).toBe(0);
});
