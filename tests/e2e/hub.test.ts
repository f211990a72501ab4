import { fileURLToPath } from "node:url";
import { type Address, parseAddress } from "@proof-of-compute/proto";
import { matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import { getBytes, Wallet } from "ethers";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { PATIENCE, TestNetwork } from "../support/test-network.ts";

const SCREENSHOTS = fileURLToPath(new URL("../hub/screenshots/", import.meta.url));
/** Units of the smallest preset. */
const SMALL = matmulUnits(256, 4);
/** What the browser logs about a request without an answer. */
const UNANSWERED = /^Failed to load resource: net::ERR_/;

let network: TestNetwork;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  network = await TestNetwork.start();
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  await network?.stop();
});

beforeEach(async () => {
  context = await browser.newContext({ viewport: { width: 1280, height: 1000 } });
  context.setDefaultTimeout(PATIENCE.timeout);
  page = await context.newPage();
  complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  await page.addInitScript(recordStates);
});

afterEach(async ({ task }) => {
  if (task.result?.state === "fail") {
    const name = task.name.replaceAll(/\W+/g, "-");
    await page.screenshot({ path: `${SCREENSHOTS}e2e-${name}.png`, fullPage: true }).catch(() => undefined);
  }
  const found = complaints;
  await context.close();
  network.rpc.lag = 0;
  network.rpc.fault = () => undefined;
  await network.stopDaemons();
  expect(found).toEqual([]);
});

const button = (name: string) => page.getByRole("button", { name, exact: true });
const taskState = (state: string) => page.locator(`[data-testid=task-state][data-state=${state}]`);
const units = () => page.getByTestId("units").textContent();
const shown = (amount: bigint) => amount.toLocaleString("en-US");

/** Runs in the page: records every state of the task that the page shows. */
function recordStates() {
  const target = globalThis as unknown as {
    states: string[];
    document: unknown;
    MutationObserver: ObserverConstructor;
  };
  type ObserverConstructor = new (changed: () => void) => { observe(node: unknown, options: object): void };
  type Queried = { querySelector(selector: string): { dataset: { state: string } } | null };
  target.states = [];
  new target.MutationObserver(() => {
    const state = (target.document as Queried).querySelector("[data-testid=task-state]")?.dataset.state;
    if (state !== undefined && state !== target.states.at(-1)) target.states.push(state);
  }).observe(target.document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"] });
}

function statesSeen(): Promise<string[]> {
  return page.evaluate(() => (globalThis as unknown as { states: string[] }).states);
}

/** Connects the local wallet, signs in, and returns its address. */
async function signIn(): Promise<Address> {
  await page.goto(network.origin);
  await button("Connect wallet").click();
  await button("Local wallet").click();
  await button("Sign in").click();
  await button("Sign out").waitFor();
  return parseAddress((await page.locator("header [title^='0x']").getAttribute("title"))!);
}

async function requestSmall(): Promise<void> {
  await page.getByText("Small", { exact: true }).click();
  await button("Request compute task").click();
}

/** Starts a daemon with exactly the command that the page shows. */
async function runShownCommand() {
  const command = await page.locator("code", { hasText: "npm run daemon" }).textContent();
  const [, flags] = /^npm run daemon -- (.+)$/.exec(command!)!;
  const daemon = network.startDaemon(...flags!.split(" "));
  await page.getByText("Online", { exact: true }).waitFor();
  return daemon;
}

/** Removes complaints that a test expects. */
function allow(expected: RegExp): void {
  complaints = complaints.filter((complaint) => !expected.test(complaint));
}

/** Runs in the page: announces a wallet by EIP-6963, for which the test signs. */
function announceWallet(address: string): void {
  const target = globalThis as unknown as EventTarget & { personalSign(message: string): Promise<string> };
  const provider = {
    request: async ({ method, params }: { method: string; params?: [string] }) =>
      method === "personal_sign" ? target.personalSign(params![0]) : [address.toLowerCase()],
  };
  const info = { uuid: "1", name: "Wallet of the test", rdns: "org.example.test", icon: "data:image/svg+xml,<svg/>" };
  const announce = () =>
    target.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  target.addEventListener("eip6963:requestProvider", announce);
  announce();
}

/** Makes the page read everything now, as it does when its tab becomes visible again. */
function lookAgain(): Promise<unknown> {
  return page.evaluate(() =>
    (globalThis as unknown as { document: EventTarget }).document.dispatchEvent(new Event("visibilitychange")),
  );
}

/** Marks the page. The returned function says whether it is still the same page, without a reload. */
async function mark(): Promise<() => Promise<boolean>> {
  await page.evaluate(() => Object.assign(globalThis, { marked: true }));
  return () => page.evaluate(() => "marked" in globalThis);
}

describe("a requester", () => {
  it("sees a task queued, computed, verified and recorded at a final block, and verifies its receipt", async () => {
    const wallet = await signIn();
    await expect.poll(units, PATIENCE).toBe("0");

    await requestSmall();
    await taskState("queued").waitFor();
    await page.getByText("no node is online").waitFor();
    await runShownCommand();
    await taskState("recorded").waitFor();
    await expect.poll(units, PATIENCE).toBe(shown(SMALL));
    expect(await network.units(wallet)).toBe(SMALL);

    // Now a node is online, and blocks become final only three blocks later.
    const seenBefore = (await statesSeen()).length;
    const batch = await network.nextBatch();
    await network.chain.provider.send("hardhat_mine", ["0x3"]);
    network.rpc.lag = 3;
    await requestSmall();
    await taskState("batched").waitFor();
    await expect.poll(() => network.nextBatch(), PATIENCE).toBe(batch + 1n);
    await lookAgain();
    expect(await taskState("recorded").count()).toBe(0);
    expect(await units()).toBe(shown(SMALL));
    await network.chain.provider.send("hardhat_mine", ["0x3"]);
    await taskState("recorded").waitFor();
    await expect.poll(units, PATIENCE).toBe(shown(2n * SMALL));
    expect(await network.units(wallet)).toBe(2n * SMALL);
    const states = await statesSeen();
    expect([states[0], states[seenBefore - 1]]).toEqual(["queued", "recorded"]);
    expect(states.slice(seenBefore)).toEqual(["running", "verified", "batched", "recorded"]);

    await page.reload();
    await button("Sign out").waitFor();
    await expect.poll(units, PATIENCE).toBe(shown(2n * SMALL));
    expect(await page.locator("tbody [data-state=recorded]").count()).toBe(2);

    await page.locator("a[href^='/tasks/']").first().click();
    const fact = (term: string) =>
      page.locator("dl > div", { hasText: term }).locator("[title^='0x']").getAttribute("title");
    const receipt = await network.chain.provider.getTransactionReceipt((await fact("Transaction"))!);
    expect(receipt?.to).toBe(await network.contract.getAddress());
    expect(await fact("Batch root")).toBe(await network.contract.getFunction("rootOf")(batch));

    await page.getByRole("link", { name: "Check it here" }).click();
    await page.locator("[data-testid=verdict]").waitFor();
    expect(await page.locator("[data-link]:not([data-status=ok])").allTextContents()).toEqual([]);
    expect(await page.getByTestId("verdict").getAttribute("data-verdict")).toBe("verified");
  });

  it("cancels a queued task, which earns nothing", async () => {
    const wallet = await signIn();
    await requestSmall();
    await taskState("queued").waitFor();
    await button("Cancel task").click();
    await taskState("cancelled").waitFor();
    await page.locator("tbody [data-state=cancelled]").waitFor();
    expect(await network.units(wallet)).toBe(0n);
  });

  it("signs in with the browser's wallet, which cannot sign for another", async () => {
    const key = Wallet.createRandom();
    await context.exposeFunction("personalSign", (message: string) => key.signMessage(getBytes(message)));
    await page.addInitScript(announceWallet, key.address);
    await page.goto(network.origin);
    await button("Connect wallet").click();
    await button("Wallet of the test").click();
    await button("Sign in").click();
    await button("Sign out").waitFor();
    await page.reload();
    await button("Sign out").waitFor();
    await page.getByText(key.address).first().waitFor();

    await button("Sign out").click();
    await button("Connect wallet").click();
    await context.exposeFunction("forge", (message: string) => Wallet.createRandom().signMessage(getBytes(message)));
    await page.evaluate(() =>
      Object.assign(globalThis, { personalSign: (globalThis as Record<string, unknown>).forge }),
    );
    await button("Wallet of the test").click();
    await button("Sign in").click();
    await page.getByText("the signature is not from the wallet that the message names").waitFor();
    // The browser reports it beside the page, sometimes after the page has shown it.
    await vi.waitFor(() => expect(complaints).toContainEqual(expect.stringMatching(/status of 40\d/)), PATIENCE);
    allow(/status of 40\d/);
  });
});

describe("an open page recovers", () => {
  it("when the coordinator restarts while a task is queued", async () => {
    const wallet = await signIn();
    await requestSmall();
    await taskState("queued").waitFor();
    const isSamePage = await mark();

    expect(await network.coordinator.end("SIGTERM"), network.coordinator.lastLines).toBe(0);
    await page.getByText("The live connection was lost").waitFor();
    await lookAgain();
    await page.getByText("Nodes could not be loaded").waitFor();
    await network.startCoordinator();
    await page.getByText("The live connection was lost").waitFor({ state: "hidden" });
    await page.getByText("Nodes could not be loaded").waitFor({ state: "hidden" });

    await runShownCommand();
    await taskState("recorded").waitFor();
    await expect.poll(units, PATIENCE).toBe(shown(SMALL));
    expect(await network.units(wallet)).toBe(SMALL);

    await network.stopDaemons();
    const leftOnline = async () => {
      await lookAgain();
      return page.getByText("Online", { exact: true }).count();
    };
    await expect.poll(leftOnline, PATIENCE).toBe(0);
    await page.getByText("Offline", { exact: true }).waitFor();
    expect(await isSamePage()).toBe(true);
    allow(UNANSWERED);
  });

  it("when the chain does not answer before units are recorded", async () => {
    const wallet = await signIn();
    await expect.poll(units, PATIENCE).toBe("0");
    const isSamePage = await mark();
    network.rpc.fault = () => "drop";
    await runShownCommand();
    await requestSmall();
    await taskState("verified").waitFor();
    await page.getByText("the RPC failed").waitFor();
    await lookAgain();
    await page.getByText("The contract could not be read").waitFor();
    expect(await units()).toBe("0");

    network.rpc.fault = () => undefined;
    await taskState("recorded").waitFor();
    await expect.poll(units, PATIENCE).toBe(shown(SMALL));
    await page.getByText("The contract could not be read").waitFor({ state: "hidden" });
    expect(await network.units(wallet)).toBe(SMALL);
    expect(await isSamePage()).toBe(true);
    allow(UNANSWERED);
  });
});
