import { readFile } from "node:fs/promises";
import { type Address, type Hex, recoverNodeAuthorization } from "@proof-of-compute/proto";
import { expect, it } from "vitest";
import { announceWallet } from "./announced-wallet.ts";
import { api, button, connectLocal, linesOf, openContext, page, useHub } from "./harness.ts";
import { CONTRACT, config, hex, node, OTHER_WALLET } from "./scripts.ts";

useHub();

it("confirms a node with a signature that the coordinator accepts", async () => {
  const wallet = (await connectLocal()) as Address;
  const id = hex(32, "a1f3") as Hex;
  await button("Confirm a node").click();
  await page.getByLabel("Node id").fill(id);
  await button("Sign confirmation").click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByText("Save it as").click()]);
  expect(download.suggestedFilename()).toBe("node-authorization.json");
  const { issuedAt, expiresAt, signature } = JSON.parse(await readFile(await download.path(), "utf8"));
  const data = { node: id, wallet, issuedAt, expiresAt, chainId: 31337, contract: CONTRACT as Address };
  expect(recoverNodeAuthorization(data, signature)).toBe(wallet);
  expect(expiresAt - issuedAt).toBe(365 * 86_400);
});

it("switches an announced wallet to the contract's chain before it confirms a node", async () => {
  const wallet = await announceWallet();
  api.on("GET /api/config", () => ({ body: config(api.url, { chainId: 51, network: "apothem" }) }));
  api.on("GET /api/node/status", () => ({
    body: { wallet: OTHER_WALLET, xdcWallet: "", nodes: [node("a1f3", OTHER_WALLET, { confirmed: false })] },
  }));
  await page.goto(api.url);
  await button("Connect wallet").click();
  await button("Test Wallet").click();
  await button("Unconfirmed: confirm it").click();
  await button("Sign confirmation").click();
  await page.getByText("Save it as").waitFor();

  const asked = wallet.requests.filter(({ method }) => !method.startsWith("eth_req"));
  expect(asked.map(({ method }) => method)).toEqual([
    "wallet_switchEthereumChain",
    "wallet_addEthereumChain",
    "eth_signTypedData_v4",
  ]);
  expect(asked[1]?.params).toMatchObject([{ chainId: "0x33", rpcUrls: ["https://erpc.apothem.network"] }]);
  expect(JSON.parse(asked[2]?.params?.[1] as string)).toMatchObject({
    primaryType: "NodeAuthorization",
    domain: { name: "ProofOfCompute", version: "1", chainId: 51, verifyingContract: CONTRACT },
    message: { node: hex(32, "a1f3"), wallet: OTHER_WALLET },
  });
});

it("says now for a node that is online, and when another was last seen", async () => {
  const seen = { lastSeen: Date.now() - 610_000 };
  const nodes = [node("a1f3", OTHER_WALLET), node("77e0", OTHER_WALLET, { ...seen, status: "suspect" })];
  api.on("GET /api/nodes", () => ({ body: { items: nodes } }));
  await page.goto(`${api.url}/network`);
  const rows = page.locator("tbody tr", { hasText: "cores" });
  await rows.first().waitFor();
  expect(await rows.locator("td:last-child").allTextContents()).toEqual(["now", "10\u00a0min ago"]);
  await page.getByText("Not responding", { exact: true }).waitFor();
});

it.each([390, 820, 1440])("shows a command that starts a node, with no flag broken: %i px", async (width) => {
  api.on("GET /api/config", () => ({ body: config(api.url, { grpcAddress: "127.0.0.1:24051" }) }));
  await openContext({ viewport: { width, height: 900 } });
  const wallet = await connectLocal();
  const command = page.locator("code", { hasText: "npm run daemon" });
  expect(await command.textContent()).toBe(
    `npm run daemon -- --wallet-address ${wallet} --coordinator 127.0.0.1:24051`,
  );
  for (const part of ["npm run daemon --", "--wallet-address", "--coordinator"]) {
    expect(await linesOf(command.getByText(part, { exact: true })), part).toBe(1);
  }
});
