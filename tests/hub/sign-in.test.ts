import { SiweMessage } from "siwe";
import { describe, expect, it } from "vitest";
import { announceWallet } from "./announced-wallet.ts";
import { api, button, connectLocal, page, signIn, useHub } from "./harness.ts";
import { type Call, problem } from "./scripted-api.ts";
import { scriptTask, taskState } from "./scripted-task.ts";
import { config, OTHER_WALLET, stages } from "./scripts.ts";

useHub();

it("signs in with a message that siwe accepts, stays signed in after a reload, and signs out", async () => {
  let signed: { message: string; signature: string } | undefined;
  const accept = api.routes.get("POST /api/auth/sign-in")!;
  api.on("POST /api/auth/sign-in", (call) => {
    signed = call.body as typeof signed;
    return accept(call);
  });
  const wallet = await signIn();

  const message = new SiweMessage(signed!.message);
  const { success } = await message.verify({
    signature: signed!.signature,
    nonce: "k3m9x2v8q1z7w5t4",
    domain: new URL(api.url).host,
  });
  expect(success).toBe(true);
  expect(message).toMatchObject({ address: wallet, uri: api.url, chainId: 31337 });

  await page.reload();
  await button("Sign out").waitFor();
  expect(await page.locator("header [title^='0x']").getAttribute("title")).toBe(wallet);
  await button("Sign out").click();
  await button("Connect wallet").waitFor();
  expect(api.calls).toContain("POST /api/auth/sign-out");
});

it("says why a sign-in was refused, and offers another try", async () => {
  const accept = api.routes.get("POST /api/auth/sign-in")!;
  api.on("POST /api/auth/sign-in", () => problem(401, "SIGN_IN_REFUSED", "The nonce is no longer valid."));
  await connectLocal();
  await button("Sign in").click();
  await page.getByRole("alert").getByText("The nonce is no longer valid.").waitFor();
  api.on("POST /api/auth/sign-in", accept);
  await button("Sign in").click();
  await button("Sign out").waitFor();
});

it("offers the local wallet on the local network only", async () => {
  api.on("GET /api/config", () => ({
    body: config(api.url, {
      network: "apothem",
      chainId: 51,
      localWallet: false,
      explorerUrl: "https://testnet.xdcscan.com",
    }),
  }));
  await page.goto(api.url);
  await page.getByText("Test network").waitFor();
  await button("Connect wallet").click();
  await page.getByText("No wallet found in this browser").waitFor();
  expect(await button("Local wallet").count()).toBe(0);
  await page.keyboard.press("Escape");
  expect(await page.getByRole("dialog").count()).toBe(0);
  expect((await page.locator(":focus").textContent())?.trim()).toBe("Connect wallet");
});

it("connects an announced wallet (EIP-6963), accepts a refusal, and follows a change of account", async () => {
  const wallet = await announceWallet();
  await page.goto(api.url);
  await button("Connect wallet").click();
  await button("Test Wallet").click();
  await page.getByTestId("units").waitFor();
  // The wallet returns its address in lower case; EIP-4361 and people need the checksum.
  expect(await page.locator("header [title^='0x']").getAttribute("title")).toBe(OTHER_WALLET);

  wallet.approves = false;
  await button("Sign in").click();
  await page.getByText("You declined in the wallet.").waitFor();
  wallet.approves = true;
  await button("Sign in").click();
  await button("Sign out").waitFor();

  const next = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
  await page.evaluate(`changeAccount("${next}")`);
  await page.locator(`header [title="${next}"]`).waitFor();
  await button("Sign in").waitFor();
  expect(api.calls).toContain("POST /api/auth/sign-out");
});

describe("asks to sign in again when the session is over, as learned from", () => {
  /** The coordinator forgets the session, as it does after a day. Signing in again works. */
  const endSession = () => api.routes.get("POST /api/auth/sign-out")!({} as Call);
  const unauthenticated = () => problem(401, "UNAUTHENTICATED", "Sign in with your wallet first.");

  it("a request", async () => {
    await signIn();
    api.on("POST /api/node/dispatch-task", unauthenticated).on("GET /api/tasks", () => ({ body: { items: [] } }));
    await button("Request compute task").click();
    await button("Sign in").waitFor();
  });

  it("the list of tasks, without a click", async () => {
    await signIn();
    await page.getByText("Nothing requested yet.").waitFor();
    await endSession();
    await button("Sign in").waitFor();
    await page.getByText("Connected, not signed in:").waitFor();
    // While the first reading is in progress the list must not show the error from before.
    const answer = api.routes.get("GET /api/tasks")!;
    let seen: (() => void) | undefined;
    api.on("GET /api/tasks", async (call) => {
      await new Promise<void>((resolve) => {
        seen = resolve;
      });
      return answer(call);
    });
    await button("Sign in").click();
    await page.getByRole("heading", { name: "My tasks" }).waitFor();
    await expect.poll(() => seen).toBeDefined();
    expect(await page.getByText("Tasks could not be loaded").count()).toBe(0);
    seen?.();
    await page.getByText("Nothing requested yet.").waitFor();
  });

  it("a task's page", async () => {
    const { recorded } = stages(await signIn());
    api.on("GET /api/tasks", () => ({ body: { items: [recorded] } }));
    await page.reload();
    const link = page.locator("tbody a[href^='/tasks/']");
    await link.waitFor();
    await endSession();
    await link.click();
    await button("Sign in").click();
    await taskState("recorded").waitFor();
  });

  it("the task that the page follows, and follows it again afterwards", async () => {
    const { views, become } = scriptTask(await signIn());
    api.on("GET /api/tasks", () => ({ body: { items: [] } }));
    await button("Request compute task").click();
    become(views.running);
    await taskState("running").waitFor();

    const [view, events] = ["GET /api/tasks/*", "GET /api/tasks/*/events"].map((route) => api.routes.get(route)!);
    api.on("GET /api/tasks/*", unauthenticated).on("GET /api/tasks/*/events", unauthenticated);
    api.dropConnections();
    await button("Sign in").waitFor();
    expect(await page.getByText("The live connection was lost").count()).toBe(0);

    api.on("GET /api/tasks/*", view!).on("GET /api/tasks/*/events", events!);
    await button("Sign in").click();
    become(views.recorded);
    await taskState("recorded").waitFor();
  });
});
