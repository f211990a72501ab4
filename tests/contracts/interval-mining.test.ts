import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Address, PROOF_OF_COMPUTE_ABI } from "@proof-of-compute/proto";
import { Contract, Wallet } from "ethers";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type LocalChain, startLocalChain } from "../support/local-chain.ts";
import { someWallet } from "../support/settling.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BATCH = 1;
const BATCH_ROOT = `0x${"5a".repeat(32)}`;

let chain: LocalChain;
let directory: string;
let contract: Address;

beforeAll(async () => {
  // Blocks come by themselves, as on every real chain: whoever waits for one asks again and again.
  chain = await startLocalChain({ interval: 1_000 });
  directory = await mkdtemp(join(tmpdir(), "interval-"));
  const deployed = await chain.deploy();
  contract = deployed.address;
  const recorder = new Wallet(deployed.recorderKey, chain.provider);
  const ledger = new Contract(contract, PROOF_OF_COMPUTE_ABI, recorder);
  await ledger.getFunction("recordBatch")(BATCH, BATCH_ROOT, [[someWallet(), 5]]);
  await vi.waitFor(async () => expect(await ledger.getFunction("nextBatchId")()).toBe(BigInt(BATCH + 1)), 20_000);
});

afterAll(async () => {
  await chain?.stop();
  if (directory) await rm(directory, { recursive: true });
});

/** Runs one of the programs as people do. */
function run(script: string, args: readonly string[], variables: Record<string, string> = {}) {
  return new Promise<{ code: number; out: string; error: string }>((resolve) => {
    const env = { PATH: process.env.PATH, XDC_RPC_URL: chain.url, ...variables };
    execFile(process.execPath, [join(ROOT, script), ...args], { env }, (failure, out, error) =>
      resolve({ code: failure ? Number(failure.code) : 0, out, error }),
    );
  });
}

test("deploys, time after time, and ends with success", async () => {
  for (let time = 0; time < 3; time++) {
    const dotenv = join(directory, `${time}.env`);
    const outcome = await run("scripts/deploy_proof_of_compute.ts", ["--network", "local", "--dotenv", dotenv]);
    expect(outcome).toMatchObject({ code: 0, error: "", out: expect.stringMatching(/included {3}in block \d+/) });
  }
});

test("checks a batch", async () => {
  const file = join(directory, "batch.jsonl");
  await writeFile(file, "");
  const outcome = await run("scripts/verify-batch.ts", [
    ...[file, "--batch", String(BATCH), "--rpc", chain.url, "--contract", contract],
  ]);
  expect(outcome.error).toBe("");
  expect(outcome.out.trimEnd().split("\n").at(-1)).toMatch(/^(broken|unproven)$/);
});

test("reconciles a new store with the chain", async () => {
  const outcome = await run("coordinator/src/commands/reconcile/main.ts", ["--fix"], {
    DATA_DIR: join(directory, "store"),
    PROOF_OF_COMPUTE_ADDRESS: contract,
    LOG_LEVEL: "error",
  });
  expect(outcome, outcome.error).toMatchObject({ code: 0, out: expect.stringContaining("batch 1: imported") });
});
