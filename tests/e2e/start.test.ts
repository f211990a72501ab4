import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Wallet } from "ethers";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Requester } from "../../scripts/local/requester.ts";
import { type MongoServer, mongoOrSkip, startMongo } from "../support/mongo.ts";

const SCRIPT = fileURLToPath(new URL("../../scripts/local.ts", import.meta.url));
const EXAMPLES = fileURLToPath(new URL("../../docs/examples/requester/", import.meta.url));
const UP = "Ctrl-C ends all of it";
const TIMEOUT = { timeout: 60_000, interval: 100 };

let dataDir: string;
/** Of hub, node stream and chain; a second coordinator has the next ones of the first two. */
let ports: number[];
let child: ChildProcess | undefined;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "proof-of-compute-start-"));
  ports = [await freePair(), await freePair(), await freePair()];
});

afterEach(() => void child?.kill("SIGKILL"));
afterAll(() => rm(dataDir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));

async function listen(port = 0): Promise<Server> {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

function portOf(server: Server): number {
  return (server.address() as { port: number }).port;
}

async function close(server: Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
}

/** A port that is free, and so is the next. */
async function freePair(): Promise<number> {
  for (;;) {
    const server = await listen();
    const port = portOf(server);
    const next = await listen(port + 1).catch(() => undefined);
    await close(server);
    if (!next) continue;
    await close(next);
    return port;
  }
}

/** Whether nothing listens on any of the ports: no program of the network is left. */
async function allFree(): Promise<boolean> {
  try {
    for (const port of ports.flatMap((first) => [first, first + 1])) await close(await listen(port));
    return true;
  } catch {
    return false;
  }
}

/** Starts the network; `output` gives what it has printed so far. */
function start(
  options: string[] = [],
  {
    mongodbUri = "",
    folder = dataDir,
    more = {},
  }: { mongodbUri?: string; folder?: string; more?: NodeJS.ProcessEnv } = {},
) {
  const [http, grpc, chain] = ports.map((port) => `127.0.0.1:${port}`) as [string, string, string];
  const flags = ["--data-dir", folder, "--chain-address", chain];
  const env = {
    ...process.env,
    ...{
      HTTP_ADDRESS: http,
      GRPC_ADDRESS: grpc,
      MONGODB_URI: mongodbUri,
      XDC_RPC_URL: "",
      PROOF_OF_COMPUTE_ADDRESS: "",
    },
    ...more,
  };
  child = spawn(process.execPath, [SCRIPT, ...flags, ...options], { env, stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  const keep = (chunk: Buffer) => {
    text += chunk;
  };
  child.stdout!.on("data", keep);
  child.stderr!.on("data", keep);
  return { process: child, exit: once(child, "exit"), output: () => text };
}

/** Runs an example for requesters against the network; resolves to what it printed, once it ended well. */
async function runExample(name: string): Promise<string> {
  const env = { ...process.env, COORDINATOR_URL: `http://127.0.0.1:${ports[0]}`, PRIVATE_KEY: "" };
  const { stdout } = await promisify(execFile)(process.execPath, [join(EXAMPLES, name)], { env, timeout: 120_000 });
  return stdout;
}

/** Waits until the network is up; fails with what it printed when it ends before. */
async function untilUp(network: ReturnType<typeof start>): Promise<void> {
  const ended = network.exit.then(() => expect.fail(network.output()));
  await Promise.race([expect.poll(network.output, TIMEOUT).toContain(UP), ended]);
}

describe("npm start", () => {
  test("shows the evidence of one task from request to on-chain unit, serves the hub, and ends with Ctrl-C", async () => {
    const network = start();
    await untilUp(network);
    const output = network.output();
    const evidence = [/node +0x[0-9a-f]{64}/, /task +0x[0-9a-f]{32}/, /assignment +0x[0-9a-f]{32}/, /at most 2\^-112/];
    for (const each of evidence) expect(output).toMatch(each);
    expect(output).toMatch(/batch +1\n/);
    expect(output).toMatch(/root 0x[0-9a-f]{64}\n.*tx 0x[0-9a-f]{64}/);
    expect(output).toMatch(/computeUnits +16,384, read from the contract/);
    expect((await fetch(`http://127.0.0.1:${ports[0]}/`)).status).toBe(200);

    network.process.kill("SIGINT");
    expect(await network.exit).toEqual([0, null]);
    expect(await allFree()).toBe(true);
  });

  test("restores the units of the run before, serves the examples for requesters, and leaves nothing behind when killed", async () => {
    const network = start(["--no-task"]);
    await untilUp(network);
    expect(network.output()).toMatch(/restored +16,384 units of 0x/);

    const examples = (await readdir(EXAMPLES)).filter((name) => /^\d\d-.*\.ts$/.test(name)).sort();
    expect(examples.map((name) => name.slice(0, 2))).toEqual(["01", "02", "03", "04", "05"]);
    const printed = await Promise.all(examples.map(runExample));
    const [ask, follow, cancel, verify, many] = printed as [string, string, string, string, string];
    expect(ask).toMatch(/worth 128 units\n(?:.*\n)*verified: 65536 bytes, SHA-256 0x[0-9a-f]{64}\n$/);
    expect(follow).toMatch(/\nrecorded {2}\{ receiptId: '0x[0-9a-f]{32}', batch: \d+ \}\n$/);
    expect(cancel).toMatch(/\ncancelled\n.*NO_RESULT: the task is cancelled\n$/);
    expect(verify).toMatch(/\nverified\n$/);
    expect(many).toMatch(/: the same task\n.*IDEMPOTENCY_MISMATCH.*\n20 tasks verified, 1280 units\n$/);

    network.process.kill("SIGKILL");
    await network.exit;
    await expect.poll(allFree, TIMEOUT).toBe(true);
  });

  test("is not misled by what stands in .env for the world: of a coordinator behind a proxy, and of its providers", async () => {
    const folder = await mkdtemp(join(tmpdir(), "proof-of-compute-start-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));
    const [http, grpc, chain] = ports;
    const name = "compute.example.org:50051";
    const network = start([], {
      folder,
      more: {
        ...{ HTTP_ADDRESS: `0.0.0.0:${http}`, PUBLIC_ORIGINS: "https://compute.example.org", TRUST_PROXY: "true" },
        ...{ GRPC_ADDRESS: `0.0.0.0:${grpc}`, GRPC_AUDIENCES: name, PUBLIC_GRPC_ADDRESS: name },
        ...{ TLS_CERT: "/nowhere/chain.pem", TLS_KEY: "/nowhere/key.pem", REQUIRE_NODE_AUTHORIZATION: "true" },
        ...{ COORDINATOR_ID: "a", PEER_ADDRESS: "http://10.0.0.11:3000", PUBLIC_RPC_URL: "https://rpc.example" },
        ...{ LOG_LEVEL: "fatal", DRAIN_TIMEOUT: "1d" },
        ...{ COORDINATOR: name, AUDIENCE: name, TLS_CA: "/nowhere/ca.pem", NODE_AUTHORIZATION: "/nowhere/node.json" },
      },
    });
    await untilUp(network);
    expect(network.output()).toMatch(/computeUnits +16,384, read from the contract/);
    const config = await (await fetch(`http://127.0.0.1:${http}/api/config`)).json();
    expect(config).toMatchObject({ rpcUrl: `http://127.0.0.1:${chain}`, grpcAddress: `127.0.0.1:${grpc}` });

    network.process.kill("SIGINT");
    expect(await network.exit).toEqual([0, null]);
  });

  test("says which flag helps when a port is taken", async () => {
    const server = await listen(ports[0]);
    try {
      const network = start();
      expect(await network.exit).toEqual([1, null]);
      expect(network.output()).toMatch(/in use by another program.*npm start -- --http-address 127\.0\.0\.1:\d+/s);
    } finally {
      await close(server);
    }
  });
});

describe("npm start on MongoDB", () => {
  let mongo: MongoServer | undefined;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "proof-of-compute-start-"));
  });
  afterAll(async () => {
    await mongo?.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });

  test("shows one task with two coordinators; the next is done too when one of them was killed, which then comes back", async (context) => {
    mongo = await mongoOrSkip(context, startMongo());
    const uri = mongo.uri();
    const network = start(["--coordinators", "2"], { mongodbUri: uri, folder });
    await untilUp(network);
    const { host, pathname } = new URL(uri);
    expect(network.output()).toContain(`MongoDB at ${host}, database ${pathname.slice(1)}\n`);
    expect(network.output()).toMatch(/computeUnits +16,384, read from the contract/);

    // The daemon is with the first of its list.
    const [ready] = (await readFile(join(folder, "logs", "coordinator-local-1.log"), "utf8")).split("\n");
    process.kill(JSON.parse(ready!).pid, "SIGKILL");
    const signal = AbortSignal.timeout(TIMEOUT.timeout);
    const requester = new Requester(`http://127.0.0.1:${ports[0]! + 1}`);
    await requester.signIn(Wallet.createRandom() as unknown as Wallet, signal);
    const { id } = await requester.dispatch({ kind: "matmul", matmul: { n: 256, k: 2 } }, "after-the-kill", signal);
    const states = await Array.fromAsync(requester.follow(id, signal), ({ state }) => state);
    expect(states.at(-1)).toBe("recorded");
    await expect.poll(network.output, TIMEOUT).toContain("local-1 is back");
    expect(network.output()).toMatch(/local-1 ended \(signal SIGKILL\), it starts again in 1 s; the others go on/);

    network.process.kill("SIGINT");
    expect(await network.exit).toEqual([0, null]);
    expect(await allFree()).toBe(true);
  });
});
