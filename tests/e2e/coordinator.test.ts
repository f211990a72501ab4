import { randomUUID } from "node:crypto";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Address, Hex } from "@proof-of-compute/proto";
import { Verdict } from "@proof-of-compute/proto/node";
import { Wallet } from "ethers";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { Requester } from "../../scripts/local/requester.ts";
import { CERTIFICATE, CERTIFICATE_KEY } from "../support/daemon/certificate.ts";
import { mongoOrSkip } from "../support/mongo.ts";
import { freePort, Program } from "../support/process.ts";
import { ScriptedNode } from "../support/scripted-node.ts";
import { storeSettings } from "../support/store.ts";
import { PATIENCE } from "../support/test-network.ts";

const PROVIDER = Wallet.createRandom().address as Address;
const EXIT = { settings: 2, unavailable: 3, terminatedTwice: 143 };
/** Signals that come sooner after the first are the same request. */
const SECOND_REQUEST_MS = 1_100;

let folder: string;
let grpcAddress: string;
let httpAddress: string;
let store: { readonly MONGODB_URI: string };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "proof-of-compute-coordinator-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  grpcAddress = `127.0.0.1:${await freePort()}`;
  httpAddress = `127.0.0.1:${await freePort()}`;
  store = await storeSettings(join(folder, "data"));
});

/** A coordinator as a process, without a chain; ends with the test. */
function coordinator(settings: Readonly<Record<string, string>> = {}): Program {
  const program = new Program("coordinator/src/main.ts", [], {
    GRPC_ADDRESS: grpcAddress,
    HTTP_ADDRESS: httpAddress,
    DATA_DIR: join(folder, "data"),
    XDC_RPC_URL: "",
    HEARTBEAT_INTERVAL: "500ms",
    ...store,
    ...settings,
  });
  onTestFinished(async () => void (await program.end("SIGKILL")));
  program.start();
  return program;
}

async function isReady(program: Program): Promise<void> {
  const ready = async () => {
    program.assertAlive();
    expect((await fetch(`http://${httpAddress}/healthz`)).status).toBe(200);
  };
  await vi.waitFor(ready, PATIENCE);
}

/** Exit code of a program that ends by itself. */
async function exitCode(program: Program): Promise<number | null> {
  await expect.poll(() => program.running, PATIENCE).toBe(false);
  return program.end("SIGTERM");
}

/** Messages of a coordinator's log, from the level of warnings on, that are about its end. */
function fatal(program: Program): string[] {
  return program.lastLines
    .split("\n")
    .map((line) => JSON.parse(line) as { level: number; msg: string })
    .flatMap(({ level, msg }) => (level >= 60 ? [msg] : []));
}

/** A node that holds an assignment of a task that was asked for over REST. */
async function workInFlight() {
  const signal = AbortSignal.timeout(PATIENCE.timeout);
  const node = new ScriptedNode({ address: grpcAddress, wallet: PROVIDER });
  await node.open();
  const requester = new Requester(`http://${httpAddress}`);
  await requester.signIn(new Wallet(Wallet.createRandom().privateKey), signal);
  const task = await requester.dispatch({ kind: "matmul", matmul: { n: 64, k: 2 } }, randomUUID(), signal);
  const assignment = await node.assignment();
  const beat = setInterval(() => node.heartbeat([assignment.assignmentId]), 250);
  onTestFinished(() => {
    clearInterval(beat);
    node.drop();
  });
  return { node, assignment, read: () => requester.task(task.id as Hex, signal) };
}

describe("SIGTERM", () => {
  it("takes the results in flight before the end, and loses nothing", async () => {
    const program = coordinator({ DRAIN_TIMEOUT: "60s" });
    await isReady(program);
    const { node, assignment, read } = await workInFlight();

    const ended = program.end("SIGTERM");
    expect((await node.next("reconnect")).reason).toBe("draining");
    await expect(read()).resolves.toMatchObject({ state: "running" });
    node.sendResults([node.result(assignment, node.solve(assignment))]);
    expect((await node.ack()).verdict).toBe(Verdict.VERDICT_ACCEPTED);
    expect(await ended, program.lastLines).toBe(0);

    program.start();
    await isReady(program);
    expect(await read()).toMatchObject({ state: "verified", units: "1" });
  });

  it("ends at once when it is asked for twice, and keeps the task", async () => {
    const program = coordinator({ DRAIN_TIMEOUT: "1h" });
    await isReady(program);
    const { node, read } = await workInFlight();
    const ended = program.end("SIGTERM");
    await node.next("reconnect");
    // The same request, as a supervisor and npm deliver it.
    program.signal("SIGTERM");
    await sleep(SECOND_REQUEST_MS);
    expect(program.running).toBe(true);
    expect(await program.end("SIGTERM")).toBe(EXIT.terminatedTwice);
    await ended;

    program.start();
    await isReady(program);
    expect((await read()).state).toMatch(/running|queued/);
  });
});

describe("a coordinator that cannot start says so in one line", () => {
  it("when another one has its data", async () => {
    await isReady(coordinator({ MONGODB_URI: "" }));
    const second = coordinator({ GRPC_ADDRESS: "127.0.0.1:0", HTTP_ADDRESS: "127.0.0.1:0", MONGODB_URI: "" });
    expect(await exitCode(second)).toBe(EXIT.unavailable);
    expect(fatal(second)).toEqual([`another coordinator uses this data directory: ${join(folder, "data")}`]);
  });

  it("when another one has its name on the same MongoDB: the one that came first ends", async (context) => {
    const MONGODB_URI = (await mongoOrSkip(context)).uri();
    const first = coordinator({ MONGODB_URI, COORDINATOR_ID: "same", LEASE_TIME: "3s" });
    await isReady(first);
    const elsewhere = { GRPC_ADDRESS: "127.0.0.1:0", HTTP_ADDRESS: "127.0.0.1:0" };
    const second = coordinator({ MONGODB_URI, COORDINATOR_ID: "same", LEASE_TIME: "3s", ...elsewhere });
    expect(await exitCode(first)).toBe(EXIT.unavailable);
    expect(fatal(first)).toEqual(["another coordinator has started with COORDINATOR_ID same; each needs its own"]);
    second.assertAlive();
  });

  it("when MongoDB is not there, without its password", async () => {
    const port = await freePort();
    const program = coordinator({ MONGODB_URI: `mongodb://user:s3cret@127.0.0.1:${port}/?replicaSet=rs0` });
    expect(await exitCode(program)).toBe(EXIT.unavailable);
    expect(fatal(program)).toEqual([`MongoDB does not answer at 127.0.0.1:${port} (from MONGODB_URI)`]);
    expect(program.lastLines).not.toContain("s3cret");
  });

  it.each([
    ["GRPC_ADDRESS", () => grpcAddress],
    ["HTTP_ADDRESS", () => httpAddress],
  ])("when another program has its port: %s", async (setting, address) => {
    const port = Number(address().split(":")[1]);
    const other = createServer().listen(port, "127.0.0.1");
    onTestFinished(() => void other.close());
    const program = coordinator();
    expect(await exitCode(program)).toBe(EXIT.unavailable);
    expect(fatal(program)).toEqual([`cannot listen at ${address()} (${setting}): another program listens there`]);
  });

  it("when the chain does not answer", async () => {
    const key = join(folder, "recorder.key");
    await writeFile(key, Wallet.createRandom().privateKey, { mode: 0o600 });
    const chain = { PROOF_OF_COMPUTE_ADDRESS: PROVIDER, RECORDER_KEYSTORE: key };
    const program = coordinator({ ...chain, XDC_RPC_URL: `http://127.0.0.1:${await freePort()}/v1/secret-key` });
    expect(await exitCode(program)).toBe(EXIT.unavailable);
    expect(fatal(program)).toHaveLength(1);
    expect(program.lastLines).not.toContain("secret-key");
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ["the node stream beyond loopback", { GRPC_ADDRESS: "0.0.0.0:0" }, /GRPC_ADDRESS 0\.0\.0\.0.*--insecure/],
    ["REST beyond loopback", { HTTP_ADDRESS: "0.0.0.0:0" }, /HTTP_ADDRESS 0\.0\.0\.0.*--insecure/],
    [
      "an origin that is none",
      { PUBLIC_ORIGINS: "hub.example" },
      /PUBLIC_ORIGINS \(--public-origins\): an origin such as/,
    ],
    ["a certificate that is not there", { TLS_CERT: "no.pem", TLS_KEY: "no.key" }, /TLS_CERT: cannot read no\.pem/],
  ])("when its settings do not work: %s", async (_, settings, expected) => {
    const program = coordinator(settings);
    expect(await exitCode(program)).toBe(EXIT.settings);
    expect(program.lastLines).toMatch(expected);
  });
});

describe("TLS", () => {
  it("is what a daemon checks by the authority that it is given; a key that others may read is refused", async () => {
    const files = { TLS_CERT: join(folder, "cert.pem"), TLS_KEY: join(folder, "key.pem") };
    await writeFile(files.TLS_CERT, CERTIFICATE);
    await writeFile(files.TLS_KEY, CERTIFICATE_KEY);
    await chmod(files.TLS_KEY, 0o644);
    const careless = coordinator(files);
    expect(await exitCode(careless)).toBe(EXIT.settings);
    expect(fatal(careless)).toEqual([`TLS_KEY: others may read ${files.TLS_KEY}; chmod 600 it`]);

    await chmod(files.TLS_KEY, 0o600);
    await isReady(coordinator(files));
    const daemon = new Program("daemon/src/main.ts", [
      ...["--wallet-address", PROVIDER, "--coordinator", `localhost:${grpcAddress.split(":")[1]}`],
      ...["--tls-ca", files.TLS_CERT, "--data-dir", join(folder, "daemon"), "--log", "json"],
    ]);
    onTestFinished(async () => void (await daemon.end("SIGKILL")));
    daemon.start();
    const requester = new Requester(`http://${httpAddress}`);
    const nodes = () => requester.nodes(PROVIDER, AbortSignal.timeout(PATIENCE.timeout));
    const states = async () => (await nodes()).map(({ status }) => status);
    await expect.poll(states, PATIENCE).toEqual(["online"]);
    expect(await daemon.end("SIGTERM"), daemon.lastLines).toBe(0);
  });
});
