import { expect, it } from "vitest";
import { api, button, connectLocal, page, useHub } from "./harness.ts";
import { batch, chain, config, OTHER_WALLET } from "./scripts.ts";

useHub();

it("reads units at a final block, and pending units from the coordinator", async () => {
  const rpcMethods = new Set<string>();
  const answer = chain(1_294_336n, 4711);
  api.on("POST /rpc", (call) => {
    for (const { method } of [call.body].flat() as { method: string }[]) rpcMethods.add(method);
    return answer(call);
  });
  let credited = "";
  api
    .on("GET /api/batches", () => ({ body: { items: [batch(13, { state: "included" }), batch(12)] } }))
    .on("GET /api/batches/*", ({ params }) => ({
      body: {
        ...batch(Number(params[0])),
        receipts: 2,
        credits: [
          { provider: credited, units: "16384" },
          { provider: OTHER_WALLET, units: "7" },
        ],
      },
    }));
  credited = await connectLocal();
  await page.reload();
  expect(await page.getByTestId("units").textContent()).toBe("1,294,336");
  await page.getByText("final block 4,711").waitFor();
  await page.getByText("+16,384 units").waitFor();
  expect([...rpcMethods].sort()).toEqual(["eth_call", "eth_getBlockByNumber"]);
});

it("says that the chain does not answer, and recovers", async () => {
  await connectLocal();
  api.on("POST /rpc", () => ({ status: 502 }));
  await page.reload();
  await page.getByText("The contract could not be read").waitFor();
  expect(await page.getByTestId("units").count()).toBe(0);
  api.on("POST /rpc", chain(5n));
  await button("Read again").click();
  expect(await page.getByTestId("units").textContent()).toBe("5");
});

it("says that a page may not connect to the chain", async () => {
  api.on("GET /api/config", () => ({ body: config(api.url, { rpcUrl: "http://192.168.1.20:8545/key" }) }));
  await page.goto(api.url);
  await button("Connect wallet").click();
  await button("Local wallet").click();
  await page
    .getByText("This page can only connect over https or to this machine, not to http://192.168.1.20:8545.")
    .waitFor();
});

it("says that no chain is configured", async () => {
  api.on("GET /api/config", () => ({
    body: config(api.url, { network: "none", chainId: null, rpcUrl: null, contractAddress: null }),
  }));
  await page.goto(api.url);
  await button("Connect wallet").click();
  await button("Local wallet").click();
  await page.getByText("No chain is configured here").waitFor();
});
