import type { Browser, BrowserContext, Locator, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { ScriptedApi } from "./scripted-api.ts";
import { goesWell } from "./scripts.ts";

/** The API behind the page. Each test starts with a network without problems. */
export const api = new ScriptedApi();
export let context: BrowserContext;
export let page: Page;
let browser: Browser;
/** Errors and warnings in the page's console, which fail the test: exceptions, and violations of the content security policy. */
let complaints: string[];

/** Gives each test of the file its own page. A test fails when its page logs an error or a warning. `build` makes the pages of another hub. */
export function useHub(build?: () => Promise<string>): void {
  beforeAll(async () => {
    await api.start(await build?.());
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
    // The browser logs failed requests, which some of these tests script.
    const refused = /^Failed to load resource/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !refused) complaints.push(message.text());
  });
}

/** Number of lines that an element's text takes. */
export async function linesOf(element: Locator): Promise<number> {
  const bottoms = await element.evaluate((node) => {
    const { document } = globalThis as unknown as { document: TextDocument };
    const range = document.createRange();
    range.selectNodeContents(node);
    return Array.from(range.getClientRects(), ({ bottom }) => bottom);
  });
  // Texts of one line differ by less than that, when their fonts do.
  const SAME_LINE_PX = 4;
  const sorted = bottoms.sort((a, b) => a - b);
  return sorted.filter((bottom, at) => at === 0 || bottom - sorted[at - 1]! > SAME_LINE_PX).length;
}

/** The part of a browser's document that {@link linesOf} uses. */
interface TextDocument {
  createRange(): { selectNodeContents(node: unknown): void; getClientRects(): Iterable<{ readonly bottom: number }> };
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
