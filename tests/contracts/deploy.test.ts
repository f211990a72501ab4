import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PROOF_OF_COMPUTE_ABI, toXdcAddress } from "@proof-of-compute/proto";
import { Contract, Wallet } from "ethers";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { type LocalChain, startLocalChain } from "../support/local-chain.ts";
import { startRpcProxy } from "../support/rpc-proxy.ts";
import { someWallet } from "../support/settling.ts";

const SCRIPT = fileURLToPath(new URL("../../scripts/deploy_proof_of_compute.ts", import.meta.url));

let chain: LocalChain;
let directory: string;
let envFile: string;

beforeAll(async () => {
  chain = await startLocalChain();
});
afterAll(async () => {
  await chain.stop();
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "deploy-"));
  envFile = join(directory, ".env");
  return () => rm(directory, { recursive: true });
});

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Runs the script with `variables` and the chain in its environment; sends Ctrl-C once its output matches `enough`. */
function run(
  flags: readonly string[],
  variables: Record<string, string> = {},
  enough: (out: string) => boolean = () => false,
): Promise<Outcome> {
  const all = ["--network", "local", "--dotenv", envFile, ...flags];
  return new Promise((resolve) => {
    const env = { PATH: process.env.PATH, XDC_RPC_URL: chain.url, ...variables };
    const child = execFile(process.execPath, [SCRIPT, ...all], { env }, (error, out, text) => {
      resolve({ code: error ? Number(error.code) : 0, out, error: text });
    });
    let seen = "";
    child.stdout!.on("data", (part: string) => {
      seen += part;
      if (enough(seen)) child.kill("SIGINT");
    });
  });
}

async function written(): Promise<Record<string, string>> {
  const lines = (await readFile(envFile, "utf8")).trim().split("\n");
  return Object.fromEntries(lines.filter((line) => line.includes("=")).map((line) => line.split("=")));
}

const at = (address: string) => new Contract(address, PROOF_OF_COMPUTE_ABI, chain.provider);

test("deploys, names the recorder, and keeps every other line of .env", async () => {
  const recorder = someWallet();
  await writeFile(envFile, "# mine\nHTTP_ADDRESS=127.0.0.1:4000\nPROOF_OF_COMPUTE_ADDRESS=\nLAST=1");
  const outcome = await run([], { DEPLOYER_PRIVATE_KEY: chain.key(3), RECORDER_ADDRESS: toXdcAddress(recorder) });
  expect(outcome).toMatchObject({ code: 0, error: "" });
  const { PROOF_OF_COMPUTE_ADDRESS: address, PROOF_OF_COMPUTE_BLOCK: block, ...others } = await written();
  expect(others).toEqual({ HTTP_ADDRESS: "127.0.0.1:4000", LAST: "1" });
  expect(await readFile(envFile, "utf8")).toMatch(/^# mine\nHTTP_ADDRESS/);
  expect((await stat(envFile)).mode & 0o777).toBe(0o600);
  const contract = at(address!);
  expect(await contract.getFunction("recorder")()).toBe(recorder);
  expect(await contract.getFunction("owner")()).toBe(new Wallet(chain.key(3)).address);
  expect(Number(block)).toBe(await chain.provider.getBlockNumber());
  expect(outcome.out).toContain(address);
  expect(outcome.out).not.toContain(chain.key(3).slice(2));
});

test("takes the recorder from its key and the owner from a flag; by default both are the deployer", async () => {
  const owner = someWallet();
  const keystore = join(directory, "recorder.key");
  await writeFile(keystore, chain.key(5), { mode: 0o600 });
  await run(["--owner", owner], { RECORDER_KEYSTORE: keystore });
  const first = at((await written()).PROOF_OF_COMPUTE_ADDRESS!);
  expect(await first.getFunction("recorder")()).toBe(new Wallet(chain.key(5)).address);
  expect(await first.getFunction("owner")()).toBe(owner);
  await run(["--again"]);
  const second = at((await written()).PROOF_OF_COMPUTE_ADDRESS!);
  expect(await second.getFunction("recorder")()).toBe(new Wallet(chain.key(0)).address);
  expect(await second.getFunction("owner")()).toBe(new Wallet(chain.key(0)).address);
});

test("does not deploy twice by accident", async () => {
  await run([]);
  const before = await written();
  const refused = await run([]);
  expect(refused.code).toBe(1);
  expect(refused.error).toContain(`${before.PROOF_OF_COMPUTE_ADDRESS}, a live contract`);
  expect(refused.error).toContain("--again");
  expect(await written()).toEqual(before);
  expect((await run(["--again"])).code).toBe(0);
  expect((await written()).PROOF_OF_COMPUTE_ADDRESS).not.toBe(before.PROOF_OF_COMPUTE_ADDRESS);
});

test("the next run finds the pending deployment of an interrupted one", async () => {
  const deployer = new Wallet(chain.key(6)).address;
  const variables = { DEPLOYER_PRIVATE_KEY: chain.key(6) };
  await chain.provider.send("evm_setAutomine", [false]);
  onTestFinished(() => chain.provider.send("evm_setAutomine", [true]));
  const block = await chain.provider.getBlockNumber();
  const stopped = await run([], variables, (out) => out.includes("transaction 0x"));
  const before = await written();
  expect(before.PROOF_OF_COMPUTE_BLOCK).toBe(String(block));
  expect(stopped.out).toContain(before.PROOF_OF_COMPUTE_ADDRESS);
  const [{ hash }] = await chain.provider.send("eth_getBlockByNumber", ["pending", true]).then((b) => b.transactions);
  expect(stopped.out).toContain(hash);

  const refused = await run([], variables);
  expect([refused.code, refused.error]).toEqual([1, expect.stringContaining("is pending")]);
  expect(await written()).toEqual(before);
  await chain.provider.send("evm_mine", []);
  const late = await run([], variables);
  expect([late.code, late.error]).toEqual([1, expect.stringContaining("a live contract")]);
  expect(await chain.provider.getTransactionCount(deployer)).toBe(1);
  expect(await at(before.PROOF_OF_COMPUTE_ADDRESS!).getFunction("owner")()).toBe(deployer);
});

test.each([
  { lost: "the answer", fault: "drop-response", key: 7, code: 1 },
  { lost: "the transaction", fault: "drop", key: 8, code: 0 },
] as const)("deploys one contract in total when $lost is lost", async ({ fault, key, code }) => {
  const proxy = await startRpcProxy(chain.url);
  onTestFinished(() => proxy.stop());
  proxy.fault = ({ method }) => (method === "eth_sendRawTransaction" ? fault : undefined);
  const variables = { DEPLOYER_PRIVATE_KEY: chain.key(key) };
  await writeFile(envFile, `PROOF_OF_COMPUTE_ADDRESS=${someWallet()}\n`);
  const { PROOF_OF_COMPUTE_ADDRESS: old } = await written();
  const failed = await run([], { ...variables, XDC_RPC_URL: proxy.url });
  const { PROOF_OF_COMPUTE_ADDRESS: address } = await written();
  expect([failed.code, failed.out]).toEqual([1, expect.stringContaining(address!)]);
  expect(failed.out).toContain(`was ${old}`);
  expect(failed.error).toContain("Run this again");
  expect((await run([], variables)).code).toBe(code);
  expect((await written()).PROOF_OF_COMPUTE_ADDRESS).toBe(address);
  expect(await chain.provider.getTransactionCount(new Wallet(chain.key(key)).address)).toBe(1);
  expect(await at(address!).getFunction("nextBatchId")()).toBe(1n);
});

test.each(["eth_chainId", "eth_getCode", "eth_gasPrice", "eth_getTransactionReceipt"])(
  "shows the RPC's host and never its key, also when %s fails",
  async (method) => {
    const proxy = await startRpcProxy(chain.url);
    onTestFinished(() => proxy.stop());
    proxy.fault = (request) => (request.method === method ? { status: 502 } : undefined);
    await writeFile(envFile, `PROOF_OF_COMPUTE_ADDRESS=${someWallet()}\n`);
    const { code, out, error } = await run([], { XDC_RPC_URL: `${proxy.url}/v1/the-key` });
    expect([code, error]).toEqual([1, expect.stringContaining("502")]);
    expect(out + error).toContain(new URL(proxy.url).host);
    expect(out + error).not.toContain("the-key");
  },
);

test("survives an RPC that fails for a moment while it waits", async () => {
  const proxy = await startRpcProxy(chain.url);
  onTestFinished(() => proxy.stop());
  let asked = 0;
  proxy.fault = ({ method }) => (method === "eth_getTransactionReceipt" && ++asked < 4 ? { status: 502 } : undefined);
  expect(await run([], { XDC_RPC_URL: proxy.url })).toMatchObject({ code: 0, error: "" });
  expect(asked).toBe(4);
});

test("ignores a contract of another chain in .env", async () => {
  await writeFile(envFile, `PROOF_OF_COMPUTE_ADDRESS=${someWallet()}\n`);
  expect((await run([])).code).toBe(0);
});

test("a dry run checks everything and changes nothing", async () => {
  const block = await chain.provider.getBlockNumber();
  const outcome = await run(["--dry-run"]);
  expect(outcome.code).toBe(0);
  expect(outcome.out).toMatch(/cost {7}at most 0\.\d+/);
  expect(outcome.out).toContain("nothing was deployed");
  expect(await chain.provider.getBlockNumber()).toBe(block);
  await expect(stat(envFile)).rejects.toThrow("ENOENT");
});

test.each([
  { wrong: "another chain", flags: ["--network", "apothem"], says: "serves chain 31337; XDC Apothem testnet is 51" },
  { wrong: "an unknown network", flags: ["--network", "rinkeby"], says: "Allowed choices are local, apothem, xdc" },
  { wrong: "the owner", flags: ["--owner", "0x12"], says: "deploy: " },
])("says what is wrong: $wrong", async ({ flags, says }) => {
  const outcome = await run(flags);
  expect(outcome.code).toBe(1);
  expect(outcome.error).toContain(says);
  expect(outcome.error).not.toContain("    at ");
});

test.each([
  {
    wrong: "a deployer without coins",
    variables: { DEPLOYER_PRIVATE_KEY: Wallet.createRandom().privateKey },
    says: "holds 0.0 and",
  },
  { wrong: "nothing there", variables: { XDC_RPC_URL: "http://127.0.0.1:1" }, says: "nothing answers at 127.0.0.1:1" },
  { wrong: "no URL", variables: { XDC_RPC_URL: "example.org/the-key" }, says: "XDC_RPC_URL" },
  { wrong: "a bad key", variables: { DEPLOYER_PRIVATE_KEY: "0x12" }, says: "64 hex digits" },
  { wrong: "a bad recorder", variables: { RECORDER_ADDRESS: "xdc12" }, says: "deploy: " },
])("says what is wrong: $wrong", async ({ variables, says }) => {
  const outcome = await run([], variables);
  expect(outcome.code).toBe(1);
  expect(outcome.error).toContain(says);
  expect(outcome.error).not.toContain("    at ");
});

test.each([
  { where: "as a flag", flags: (key: string) => ["--owner", key], variables: () => ({}) },
  { where: "as an unknown flag", flags: (key: string) => [`--deployer=${key}`], variables: () => ({}) },
  { where: "as an argument", flags: (key: string) => [key], variables: () => ({}) },
  ...["DEPLOYER_KEYSTORE", "RECORDER_KEYSTORE", "RECORDER_ADDRESS", "XDC_RPC_URL", "PROOF_OF_COMPUTE_ADDRESS"].map(
    (name) => ({ where: `as ${name}`, flags: () => [], variables: (key: string) => ({ [name]: key }) }),
  ),
])("never repeats a private key that was given $where", async ({ flags, variables }) => {
  const key = Wallet.createRandom().privateKey;
  const { code, out, error } = await run(flags(key), variables(key));
  expect([code, error]).toEqual([1, expect.stringContaining("deploy: ")]);
  expect(out + error).not.toContain(key.slice(4, 20));
});

test("refuses a keystore that others can read", async () => {
  const keystore = join(directory, "deployer.key");
  await writeFile(keystore, chain.key(2));
  await chmod(keystore, 0o644);
  const outcome = await run([], { DEPLOYER_KEYSTORE: keystore });
  expect(outcome).toMatchObject({ code: 1, error: expect.stringContaining("chmod 600") });
});
