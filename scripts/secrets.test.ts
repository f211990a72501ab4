import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Wallet } from "ethers";
import { expect, onTestFinished, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const { privateKey, mnemonic } = Wallet.createRandom();

/** Runs a program with wrong arguments, in an empty folder, to its end. */
async function run(script: string, args: readonly string[], variables: Record<string, string> = {}) {
  const cwd = await mkdtemp(join(tmpdir(), "secrets-"));
  onTestFinished(() => rm(cwd, { recursive: true }));
  const env = { PATH: process.env.PATH, ...variables };
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, script), ...args], {
    ...{ cwd, env, encoding: "utf8", timeout: 20_000 },
  });
  return { status, said: stdout + stderr };
}

test.each([
  ["scripts/local.ts", ["--data-dir"]],
  ["scripts/local.ts", ["--http-address"]],
  ["daemon/src/main.ts", ["--wallet-address"]],
  ["daemon/src/main.ts", ["--roxonn-wallet-address"]],
  ["daemon/src/main.ts", ["--slot"]],
  ["coordinator/src/main.ts", ["--data-dir"]],
  ["coordinator/src/main.ts", ["--recorder-private-key"]],
  ["coordinator/src/commands/reconcile/main.ts", ["--clock-margin"]],
  ["scripts/deploy_proof_of_compute.ts", ["--network"]],
  ["scripts/verify-receipt.ts", []],
  ["scripts/verify-receipt.ts", ["--rpc"]],
  ["scripts/verify-batch.ts", ["receipts.jsonl", "--rpc", "http://127.0.0.1:1", "--batch"]],
  ["scripts/export-receipts.ts", ["--coordinator", "http://127.0.0.1:1", "--wallet"]],
])("%s %j never repeats a secret", async (script, before) => {
  for (const secret of [[privateKey], mnemonic!.phrase.split(" ")]) {
    const { status, said } = await run(script, [...before, ...secret]);
    expect(status, said).toBeGreaterThan(0);
    expect(said).toContain("is not repeated");
    expect(said).not.toContain(secret.join(" ").slice(4, 20));
    expect(said).not.toContain(secret.join(", ").slice(4, 20));
    expect(said).not.toContain("    at ");
  }
});

test.each([
  ["scripts/local.ts", "XDC_RPC_URL"],
  ["scripts/local.ts", "DATA_DIR"],
  ["scripts/local.ts", "GRPC_ADDRESS"],
  ["daemon/src/main.ts", "WALLET_ADDRESS"],
  ["coordinator/src/main.ts", "RECORDER_KEYSTORE"],
  ["coordinator/src/commands/reconcile/main.ts", "DATA_DIR"],
])("%s never repeats a secret in %s", async (script, name) => {
  const { status, said } = await run(script, [], { [name]: privateKey });
  expect(status, said).toBeGreaterThan(0);
  expect(said).toContain(name === "WALLET_ADDRESS" ? "--wallet-address" : name);
  expect(said).not.toContain(privateKey.slice(4, 20));
  expect(said).not.toContain("    at ");
});
