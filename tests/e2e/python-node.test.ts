import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Task } from "@proof-of-compute/coordinator/domain/task";
import { type Address, type Hex, PROOF_OF_COMPUTE_ABI, toXdcAddress } from "@proof-of-compute/proto";
import { matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import { Contract, Wallet } from "ethers";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Link } from "../support/link.ts";
import { type LocalChain, startLocalChain } from "../support/local-chain.ts";
import { freePort, Program } from "../support/process.ts";
import { examplePython, generateStubs, PythonMissing, PythonNode } from "../support/python.ts";
import { type StartedCoordinator, startTestCoordinator } from "../support/start-coordinator.ts";

const VECTORS = fileURLToPath(new URL("../vectors", import.meta.url));
const REQUESTER = Wallet.createRandom().address as Address;
const WAIT = { timeout: 60_000, interval: 25 };

let missing: string | undefined;
let python: string;
let stubs: string;
let folder: string;
let chain: LocalChain;
let settings: Record<string, string>;
let coordinator: StartedCoordinator;
let link: Link;
let wallet: Address;
let node: PythonNode;

// The first time ever, pip fetches some 50 MB.
beforeAll(async () => {
  try {
    python = await examplePython();
  } catch (error) {
    if (process.env.CI || !(error instanceof PythonMissing)) throw error;
    missing = error.message;
    console.warn(`The node in Python is not tested: ${missing}`);
    return;
  }
  folder = await mkdtemp(join(tmpdir(), "proof-of-compute-python-"));
  stubs = join(folder, "stubs");
  await generateStubs(python, stubs);
  chain = await startLocalChain();
  const contract = await chain.deploy();
  settings = {
    DATA_DIR: join(folder, "coordinator"),
    GRPC_ADDRESS: `127.0.0.1:${await freePort()}`,
    XDC_RPC_URL: chain.url,
    PROOF_OF_COMPUTE_ADDRESS: contract.address,
    RECORDER_PRIVATE_KEY: contract.recorderKey,
    BATCH_MAX_WAIT: "500ms",
    CHAIN_POLL_INTERVAL: "200ms",
    HEARTBEAT_INTERVAL: "2s",
    LEASE_TIME: "60s",
    RECONNECT_SPREAD: "100ms",
  };
  coordinator = await startTestCoordinator(settings);
  link = await Link.to(coordinator.grpcAddress);
}, 600_000);

afterAll(async () => {
  await link?.stop();
  await coordinator?.stop();
  await chain?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

beforeEach(({ skip }) => skip(missing !== undefined, missing));

async function submit(n: number, k: number): Promise<Hex> {
  const work = { kind: "matmul", spec: { n, k } } as const;
  return (await coordinator.scheduler.submit({ requester: REQUESTER, ...work, deadlineMs: 120_000 })).task.id;
}

async function stored(id: Hex): Promise<Task> {
  return (await coordinator.store.task(id))!;
}

/** Waits until a task was checked, and answers whose node did it. */
async function verified(id: Hex): Promise<Address> {
  await expect.poll(async () => (await stored(id)).state, WAIT).toBe("verified");
  return Object.values((await stored(id)).assignments).find(({ receipt }) => receipt)!.wallet;
}

async function unitsOnChain(of: Address): Promise<bigint> {
  const contract = new Contract(settings.PROOF_OF_COMPUTE_ADDRESS!, PROOF_OF_COMPUTE_ABI, chain.provider);
  return (await contract.getFunction("computeUnits")(of)) as bigint;
}

it("knows the answers of the vectors", async () => {
  const test = new PythonNode(python, stubs, ["--self-test", VECTORS]);
  expect(await test.end(), test.lines.join("\n")).toBe(0);
  const [, right, all] = /^(\d+) of (\d+) known answers$/m.exec(test.lines.join("\n"))!;
  expect(right).toBe(all);
  expect(Number(all)).toBeGreaterThan(20);
});

it("refuses a wallet address with a wrong checksum", async () => {
  const mistyped = new PythonNode(python, stubs, ["--wallet-address", "0x71C7656EC7ab88b098defB751B7401B5f6d8976f"]);
  expect(await mistyped.end()).toBe(2);
  expect(mistyped.lines.join("\n")).toContain("wrong checksum");
});

it("ends with exit code 4 when its only coordinator refuses it for good", async () => {
  const args = [
    "--wallet-address",
    REQUESTER,
    "--coordinator",
    link.address,
    "--key-file",
    join(folder, "refused.key"),
  ];
  const refused = new PythonNode(python, stubs, args);
  expect(await refused.end(), refused.lines.join("\n")).toBe(4);
  expect(refused.lines.join("\n")).toContain("AUDIENCE_REFUSED");
});

describe("a node in Python", () => {
  beforeEach(async () => {
    wallet = Wallet.createRandom().address as Address;
    node = new PythonNode(python, stubs, [
      ...["--wallet-address", toXdcAddress(wallet)],
      ...["--coordinator", link.address],
      ...["--audience", coordinator.grpcAddress],
      ...["--key-file", join(folder, `${wallet}.key`)],
    ]);
    await expect.poll(() => node.count("opened session"), WAIT).toBe(1);
  });

  afterEach(async () => {
    link?.mend();
    await node?.end("SIGKILL");
  });

  it("earns units for outputs sent inline and in chunks, beside the TypeScript daemon", async () => {
    expect((await stat(join(folder, `${wallet}.key`))).mode & 0o777).toBe(0o600);
    const sizes = [
      [64, 2],
      [256, 3],
      [320, 2],
    ] as const;
    for (const [n, k] of sizes) expect(await verified(await submit(n, k))).toBe(wallet);
    let earned = sizes.reduce((sum, [n, k]) => sum + matmulUnits(n, k), 0n);

    const other = Wallet.createRandom().address as Address;
    const args = ["--wallet-address", other, "--coordinator", coordinator.grpcAddress, "--log", "json"];
    const daemon = new Program("daemon/src/main.ts", [...args, "--data-dir", join(folder, "daemon")]);
    daemon.start();
    try {
      const online = async () => (await coordinator.store.nodes({ limit: 9, status: "online" })).items.length;
      await expect.poll(online, WAIT).toBe(2);
      const tasks = await Promise.all(Array.from({ length: 6 }, () => submit(768, 8)));
      const earners = await Promise.all(tasks.map(verified));
      expect(new Set(earners)).toEqual(new Set([wallet, other]));
      earned += BigInt(earners.filter((earner) => earner === wallet).length) * matmulUnits(768, 8);
      await expect.poll(() => unitsOnChain(wallet), WAIT).toBe(earned);
    } finally {
      await daemon.end("SIGKILL");
    }
  });

  it("sends a result again that was lost on its way, its chunks as well", async () => {
    link.mute();
    const task = await submit(320, 2);
    await expect.poll(() => node.count("computed"), WAIT).toBe(1);
    link.cut();
    expect((await stored(task)).state).toBe("running");
    link.mend();
    expect(await verified(task)).toBe(wallet);
    expect(Object.keys((await stored(task)).assignments)).toHaveLength(1);
    expect(node.count("computed")).toBe(1);
  });

  it("goes on with its work over a lost link and a restart of the coordinator, until it is cancelled", async () => {
    const task = await submit(4096, 64);
    await expect.poll(() => node.count("accepted"), WAIT).toBe(1);
    link.cut();
    link.mend();
    await expect.poll(() => node.count("opened session"), WAIT).toBe(2);
    await coordinator.stop();
    coordinator = await startTestCoordinator(settings);
    await expect.poll(() => node.count("opened session"), WAIT).toBe(3);
    await expect.poll(() => coordinator.scheduler.progress(task), WAIT).toBeGreaterThan(0);
    expect(Object.values((await stored(task)).assignments).map(({ state }) => state)).toEqual(["live"]);

    await coordinator.scheduler.cancel(task);
    await expect.poll(async () => (await stored(task)).state, WAIT).toBe("cancelled");
    expect(await verified(await submit(64, 2))).toBe(wallet);
    expect(node.count("computed")).toBe(1);
  });

  it("is seen while it has nothing to do", async () => {
    const seen = async () => (await coordinator.store.nodes({ limit: 9, wallet })).items[0]!;
    const { lastSeen } = await seen();
    await expect.poll(async () => (await seen()).lastSeen, WAIT).toBeGreaterThan(lastSeen);
    expect((await seen()).status).toBe("online");
  });

  it("finishes its work on SIGTERM, takes no more, and ends with exit code 0", async () => {
    const task = await submit(768, 8);
    await expect.poll(() => node.count("accepted"), WAIT).toBe(1);
    const ended = node.end("SIGTERM");
    await expect.poll(() => node.lines.join("\n"), WAIT).toContain("draining");
    const next = await submit(64, 2);
    expect(await ended, node.lines.join("\n")).toBe(0);
    expect((await stored(task)).state).toBe("verified");
    expect((await stored(next)).state).toBe("queued");
    await coordinator.scheduler.cancel(next);
  });
});
