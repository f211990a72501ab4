import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { addressBytes } from "@proof-of-compute/proto";
import { recordingLogger, WALLET } from "@proof-of-compute/tests/support/daemon/daemon";
import { describe, expect, onTestFinished, test } from "vitest";
import { UnitsReader } from "./units.ts";

const CONTRACT = "0x000000000000000000000000000000000000dEaD";

/** A JSON-RPC server that answers eth_call with `units`, or with an error when that is null. */
async function scriptedRpc(answer: { units: bigint | null }) {
  const calls: { to: string; data: string }[] = [];
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const part of request) text += part;
    const reply = (call: { id: number; method: string; params: [{ to: string; data: string }] }) => {
      if (call.method === "eth_call") calls.push(call.params[0]);
      return {
        jsonrpc: "2.0",
        id: call.id,
        ...(answer.units === null
          ? { error: { code: -32000, message: "away" } }
          : { result: `0x${answer.units.toString(16).padStart(64, "0")}` }),
      };
    };
    const body = JSON.parse(text);
    response.end(JSON.stringify(Array.isArray(body) ? body.map(reply) : reply(body)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls };
}

function reader(rpcUrl?: string) {
  const { logger, lines } = recordingLogger();
  const units = new UnitsReader({ logger }, { wallet: WALLET, ...(rpcUrl !== undefined && { rpcUrl }) });
  onTestFinished(() => units.stop());
  return { units, lines };
}

describe("recorded units", () => {
  test("are read from the contract that Welcome names, once per contract", async () => {
    const rpc = await scriptedRpc({ units: 42n });
    const { units } = reader(rpc.url);
    const ledger = { chainId: 31337n, contract: addressBytes(CONTRACT) };
    units.follow(ledger);
    units.follow(ledger);
    await expect.poll(() => units.recorded).toEqual({ units: 42n, chain: "Local chain", problem: undefined });
    expect(rpc.calls).toHaveLength(1);
    expect(rpc.calls[0]!.to.toLowerCase()).toBe(CONTRACT.toLowerCase());
    expect(rpc.calls[0]!.data).toContain(WALLET.slice(2).toLowerCase());
  });

  test("come with the reason when they are unknown", async () => {
    const rpc = await scriptedRpc({ units: null });
    const { units, lines } = reader(`${rpc.url.replace("//", "//user:word@")}/v1/the-key?key=the-key`);
    units.follow({ chainId: 51n, contract: addressBytes(CONTRACT) });
    await expect
      .poll(() => units.recorded)
      .toEqual({ units: undefined, chain: "XDC Apothem testnet", problem: `cannot read from ${rpc.url}` });
    expect(lines.map(({ msg }) => msg)).toEqual(["cannot read units from the chain"]);
    // User, password, path and query may be a key.
    expect(JSON.stringify(lines)).not.toMatch(/the-key|word/);
  });

  test("need a chain, and an RPC address for an unknown chain", () => {
    const { units } = reader();
    units.follow({ chainId: 0n, contract: new Uint8Array() });
    expect(units.recorded.problem).toBe("the coordinator does not record on a chain yet");
    units.follow({ chainId: 99n, contract: addressBytes(CONTRACT) });
    expect(units.recorded).toEqual({ units: undefined, chain: "chain 99", problem: "give --rpc-url to read them" });
  });
});
