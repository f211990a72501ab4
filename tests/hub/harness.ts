import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { ScriptedApi } from "./scripted-api.ts";
import { goesWell } from "./scripts.ts";

/** What the page of the running test talks to: all goes well at first. */
export const api = new ScriptedApi();
export let context: BrowserContext;
export let page: Page;
let browser: Browser;
/** What no page may do: throw, break its content security policy, complain. */
let complaints: string[];

/** Gives each test of the file a page of its own, and fails those whose page complains. */
export function useHub(): void {
  beforeAll(async () => {
    await api.start();
    browser = await launchBrowser();
  });

  afterAll(async () => {
    await browser?.close();
    await api.stop();
  });

  beforeEach(async () => {
    goesWell(api);
    await openContext();
  });

  afterEach(async () => {
    const found = complaints;
    await context.close();
    expect(found).toEqual([]);
  });
}

export async function openContext(options: Parameters<Browser["newContext"]>[0] = {}): Promise<void> {
  await context?.close();
  context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(30_000);
  page = await context.newPage();
  complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    // The browser itself reports refused requests, which some of these tests script.
    const refused = /^Failed to load resource/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !refused) complaints.push(message.text());
  });
}

export const button = (name: string) => page.getByRole("button", { name, exact: true });

export async function connectLocal(): Promise<string> {
  await page.goto(api.url);
  await button("Connect wallet").click();
  await button("Local wallet").click();
  await page.getByTestId("units").waitFor();
  return (await page.locator("header [title^='0x']").getAttribute("title")) ?? "";
}

export async function signIn(): Promise<string> {
  const wallet = await connectLocal();
  await button("Sign in").click();
  await button("Sign out").waitFor();
  return wallet;
}
