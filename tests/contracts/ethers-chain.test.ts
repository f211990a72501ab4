import { inspect } from "node:util";
import { EthersChain } from "@proof-of-compute/coordinator/adapters/ethers-chain";
import { ContractRefusal } from "@proof-of-compute/coordinator/ports/chain";
import { type Address, toHex } from "@proof-of-compute/proto";
import { Wallet } from "ethers";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type LocalChain, startLocalChain } from "../support/local-chain.ts";
import { type RpcProxy, startRpcProxy } from "../support/rpc-proxy.ts";
import { someWallet } from "../support/settling.ts";

const logger = pino({ level: "silent" });
const ROOT = toHex(new Uint8Array(32).fill(7));
const alice = someWallet();

let local: LocalChain;
let proxy: RpcProxy;
let contract: Address;
let recorderKey: string;
let chain: EthersChain;

const batch = (id: number) => ({ id, root: ROOT, credits: [{ provider: alice, units: 5n }] });
const unavailable = (message: RegExp) =>
  expect.objectContaining({ code: "UNAVAILABLE", message: expect.stringMatching(message) });
const open = (init: { contract?: Address; recorderKey?: string } = {}) =>
  EthersChain.connect({ logger }, { rpcUrl: proxy.url, contract, recorderKey, ...init });

beforeEach(async () => {
  local = await startLocalChain();
  ({ address: contract, recorderKey } = await local.deploy());
  proxy = await startRpcProxy(local.url, { lag: 3 });
  chain = await open();
});
afterEach(async () => {
  chain.stop();
  await proxy.stop();
  await local.stop();
});

test("knows chain, contract and recorder", async () => {
  expect(chain).toMatchObject({ chainId: 31337, contract });
  const recorder = new Wallet(recorderKey).address;
  expect(await chain.identify()).toEqual({
    chainId: 31337,
    contract,
    recorder,
    isRecorder: true,
    balance: await local.provider.getBalance(recorder),
  });
  const other = await open({ recorderKey: local.key(4) });
  expect((await other.identify()).isRecorder).toBe(false);
  other.stop();
});

test("sends a batch and finds it, first at latest and later at finalized", async () => {
  expect([await chain.nextBatchId("latest"), await chain.rootOf(1, "latest")]).toEqual([1, null]);
  const sent = await chain.send(batch(1));
  const receipt = (await local.provider.getTransactionReceipt(sent.hash))!;
  expect(receipt.status).toBe(1);
  expect(sent.maxCost).toBeGreaterThanOrEqual(receipt.gasUsed * receipt.gasPrice);
  expect([await chain.nextBatchId("latest"), await chain.rootOf(1, "latest")]).toEqual([2, ROOT]);
  await local.provider.send("hardhat_mine", ["0x2"]);
  expect([await chain.nextBatchId("finalized"), await chain.rootOf(1, "finalized")]).toEqual([1, null]);
  await local.provider.send("hardhat_mine", ["0x1"]);
  expect([await chain.nextBatchId("finalized"), await chain.rootOf(1, "finalized")]).toEqual([2, ROOT]);
  expect(await chain.recording(1)).toEqual({ transaction: sent.hash, block: receipt.blockNumber });
  expect(await chain.recording(2)).toBeNull();
  expect(await chain.computeUnits(alice)).toBe(5n);
});

test("asks for logs in chunks that public RPCs serve", async () => {
  const sent = await chain.send(batch(1));
  await local.provider.send("hardhat_mine", ["0x1388"]);
  expect((await chain.recording(1))?.transaction).toBe(sent.hash);
  const ranges = proxy.calls
    .filter(({ method }) => method === "eth_getLogs")
    .map(({ params: [filter] }) => filter as { fromBlock: string; toBlock: string });
  expect(ranges.length).toBe(3);
  for (const { fromBlock, toBlock } of ranges) expect(Number(toBlock) - Number(fromBlock)).toBeLessThan(2_000);
});

test.each([
  { id: 2, error: "BatchOutOfOrder", values: [1n, 2n] },
  { id: 0, error: "BatchOutOfOrder", values: [1n, 0n] },
])("reports the contract's refusal without sending: batch $id", async ({ id, error, values }) => {
  for (const call of [chain.estimate(batch(id)), chain.send(batch(id))]) {
    const refusal = await call.catch((cause: unknown) => cause);
    expect(refusal).toBeInstanceOf(ContractRefusal);
    expect(refusal).toMatchObject({ error, values });
  }
  expect(proxy.calls.some(({ method }) => method === "eth_sendRawTransaction")).toBe(false);
});

test("offers a legacy fee on a chain without base fees, and never less than the chain's price", async () => {
  const answers: Record<string, unknown> = { eth_gasPrice: "0x4a817c800" };
  proxy.rewrite = ({ method }, result) => {
    if (method === "eth_getBlockByNumber") return { ...(result as object), baseFeePerGas: undefined };
    return answers[method] ?? result;
  };
  const sent = await chain.send(batch(1));
  const legacy = (await local.provider.getTransaction(sent.hash))!;
  expect(legacy).toMatchObject({ type: 0, gasPrice: 20_000_000_000n });
  proxy.rewrite = ({ method }, result) => answers[method] ?? result;
  const dearer = (await local.provider.getTransaction((await chain.send(batch(2))).hash))!;
  expect(dearer.type).toBe(2);
  expect(dearer.maxFeePerGas).toBeGreaterThanOrEqual(20_000_000_000n);
});

test("raises the fee to replace a transaction, up to a limit", async () => {
  await local.provider.send("evm_setAutomine", [false]);
  const first = await chain.send(batch(1));
  let last = first;
  for (let time = 0; time < 30; time++) last = await chain.send(batch(1), last);
  expect(last.nonce).toBe(first.nonce);
  expect(last.feePerGas).toBeGreaterThan(4n * first.feePerGas);
  expect(last.feePerGas).toBeLessThanOrEqual(8n * first.feePerGas);
  const { transactions } = await local.provider.send("eth_getBlockByNumber", ["pending", false]);
  expect(transactions).toEqual([last.hash]);
  await local.provider.send("evm_mine", []);
  const fresh = await chain.send(batch(2), last);
  expect(fresh.nonce).toBe(first.nonce + 1);
  expect(fresh.feePerGas).toBeLessThan(last.feePerGas);
});

test("names the obstacle", async () => {
  const nowhere = await open({ contract: someWallet() });
  await expect(nowhere.nextBatchId("latest")).rejects.toEqual(
    unavailable(/there is no contract at 0x\w+ on chain 31337/),
  );
  nowhere.stop();
  proxy.fault = ({ params }) =>
    params.includes("finalized") ? { code: -32602, message: "invalid block tag" } : undefined;
  await expect(chain.rootOf(1, "finalized")).rejects.toEqual(unavailable(/finalized block.*invalid block tag/));
  expect(await chain.rootOf(1, "latest")).toBeNull();
  proxy.fault = ({ method }) =>
    method === "eth_sendRawTransaction" ? { code: -32000, message: "under min gas price" } : undefined;
  await expect(chain.send(batch(1))).rejects.toEqual(unavailable(/under min gas price/));
  proxy.fault = () => undefined;
  proxy.rewrite = ({ method }, result) => (method === "eth_chainId" ? "0x33" : result);
  await expect(chain.identify()).rejects.toEqual(unavailable(/chain 51 now, no more 31337/));
});

test("never shows the RPC's address, which may contain a key", async () => {
  /** Everything that a log could show of an error, with its causes. */
  const shown = (error: unknown) => inspect(error, { depth: 10, showHidden: true });
  const secret = "s3cr3t-key";
  const keyed = new EthersChain(
    { logger },
    { rpcUrl: `${proxy.url}/${secret}`, contract, recorderKey, chainId: 31337 },
  );
  for (const fault of ["drop", { status: 401 }, { status: 502 }, { code: -32000, message: "no" }] as const) {
    proxy.fault = () => fault;
    const error = await keyed.identify().catch((cause: unknown) => cause);
    expect(error).toEqual(unavailable(/RPC failed/));
    expect(shown(error)).not.toContain(secret);
  }
  proxy.fault = () => undefined;
  const refusal = await keyed.estimate(batch(2)).catch((cause: unknown) => cause);
  expect(refusal).toBeInstanceOf(ContractRefusal);
  expect(shown(refusal)).not.toContain(secret);
  keyed.stop();
  await proxy.stop();
  await expect(open()).rejects.toEqual(unavailable(/RPC failed/));
});
