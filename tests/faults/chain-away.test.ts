import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Address, PROOF_OF_COMPUTE_ABI, toHex } from "@proof-of-compute/proto";
import { Contract, Wallet } from "ethers";
import { expect, it, onTestFinished } from "vitest";
import { startLocalChain } from "../support/local-chain.ts";
import { startRpcProxy } from "../support/rpc-proxy.ts";
import { ScriptedNode } from "../support/scripted-node.ts";
import { startTestCoordinator } from "../support/start-coordinator.ts";

const REQUESTER = Wallet.createRandom().address as Address;
const PROVIDER = Wallet.createRandom().address as Address;

it("starts without the chain, accepts results, and records them once the chain is back", async () => {
  const chain = await startLocalChain();
  onTestFinished(() => chain.stop());
  const proxy = await startRpcProxy(chain.url);
  onTestFinished(() => proxy.stop());
  const dataDir = await mkdtemp(join(tmpdir(), "proof-of-compute-"));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const contract = await chain.deploy();
  const start = () =>
    startTestCoordinator({
      DATA_DIR: dataDir,
      XDC_RPC_URL: proxy.url,
      PROOF_OF_COMPUTE_ADDRESS: contract.address,
      RECORDER_PRIVATE_KEY: contract.recorderKey,
      BATCH_MAX_WAIT: "100ms",
      CHAIN_POLL_INTERVAL: "100ms",
    });

  await (await start()).stop();
  proxy.fault = () => "drop";
  const coordinator = await start();
  onTestFinished(() => coordinator.stop());
  const node = await new ScriptedNode({ address: coordinator.grpcAddress, wallet: PROVIDER }).open();
  onTestFinished(() => node.drop());
  expect(node.welcome).toMatchObject({ chainId: 31337n });
  const work = { kind: "matmul", spec: { n: 64, k: 3 } } as const;
  const { task } = await coordinator.scheduler.submit({ requester: REQUESTER, ...work, deadlineMs: 60_000 });
  const assignment = await node.assignment();
  expect(toHex(assignment.taskId)).toBe(task.id);
  node.sendResults([node.result(assignment, node.solve(assignment))]);
  expect((await node.ack()).units).toBe(2n);
  expect((await coordinator.store.totals()).unbatched.count).toBe(1);

  proxy.fault = () => undefined;
  const recorded = async () => (await coordinator.store.totals()).units.recorded;
  await expect.poll(recorded, { timeout: 60_000, interval: 100 }).toBe(2n);
  const ledger = new Contract(contract.address, PROOF_OF_COMPUTE_ABI, chain.provider);
  expect(await ledger.getFunction("computeUnits")(PROVIDER)).toBe(2n);
});
