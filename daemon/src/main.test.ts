import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { status } from "@grpc/grpc-js";
import { equal, toHex } from "@proof-of-compute/proto";
import { matmulSeed, referenceProduct } from "@proof-of-compute/proto/kinds/matmul";
import {
  assignment,
  scriptedCoordinator,
  temporaryFolder,
  WALLET,
} from "@proof-of-compute/tests/support/daemon/daemon";
import type { ScriptedCoordinator, ScriptedSession } from "@proof-of-compute/tests/support/daemon/scripted-coordinator";
import { describe, expect, onTestFinished, test } from "vitest";
import { openDataDir } from "./data-dir.ts";
import { decodeRecords } from "./outbox/records.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

/** The daemon as a process of its own, which ends with the test. */
class Program {
  readonly process: ChildProcess;
  readonly exited: Promise<unknown[]>;
  stdout = "";
  stderr = "";

  constructor(...args: readonly string[]) {
    this.process = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.process.stdout!.on("data", (text) => {
      this.stdout += text;
    });
    this.process.stderr!.on("data", (text) => {
      this.stderr += text;
    });
    this.exited = once(this.process, "close");
    onTestFinished(() => {
      this.process.kill("SIGKILL");
    });
  }

  async exitCode(): Promise<number | null> {
    await this.exited;
    return this.process.exitCode;
  }
}

function daemonOf(coordinator: ScriptedCoordinator, dataDir: string, ...more: readonly string[]): Program {
  return new Program(
    ...["--wallet-address", WALLET, "--coordinator", coordinator.address, "--data-dir", dataDir],
    ...["--log", "json", "--slots", "2", ...more],
  );
}

/** One task from assignment to result. */
async function doTask(session: ScriptedSession, n = 64, k = 2) {
  const work = assignment(n, k);
  session.assign(work);
  return { work, frame: await session.next("results") };
}

/** Assignment ids of the results in a data directory's outbox. */
async function writtenResults(dir: string): Promise<string[]> {
  const outbox = join(dir, "outbox", WALLET.toLowerCase());
  const segments = (await readdir(outbox)).filter((name) => name.endsWith(".log"));
  const contents = await Promise.all(segments.map((name) => readFile(join(outbox, name))));
  return contents
    .flatMap((content) => decodeRecords(content).records)
    .flatMap((record) => (record.type === "settled" ? [] : [toHex(record.head.assignmentId)]));
}

describe("the program", () => {
  test("prints help and version", async () => {
    const [help, version] = [new Program("--help"), new Program("--version")];
    expect(await help.exitCode()).toBe(0);
    expect(help.stdout).toMatch(/Exit codes:/);
    expect(await version.exitCode()).toBe(0);
    expect(version.stdout).toBe("0.1.0\n");
  });

  test("exits with 2 and one line for a wrong wallet", async () => {
    const program = new Program("--wallet-address", "xdc12");
    expect(await program.exitCode()).toBe(2);
    expect(program.stderr).toBe(
      'error: --wallet-address "xdc12" is no wallet address: an address has 40 hex digits after its prefix, this one has 2\n',
    );
    expect(program.stdout).toBe("");
  });

  test("exits with 3 when others can read its key", async () => {
    const dir = await temporaryFolder();
    (await openDataDir(dir)).close();
    await chmod(join(dir, "node-key.pem"), 0o644);
    const program = new Program("--wallet-address", WALLET, "--data-dir", dir);
    expect(await program.exitCode()).toBe(3);
    expect(program.stderr).toBe(`error: others can read the node key; run: chmod 600 ${join(dir, "node-key.pem")}\n`);
  });

  test("exits with 4 when it is refused", async () => {
    const coordinator = await scriptedCoordinator();
    coordinator.refusal = { code: status.FAILED_PRECONDITION, error: "AUDIENCE_REFUSED", details: "not my name" };
    const program = daemonOf(coordinator, await temporaryFolder());
    expect(await program.exitCode()).toBe(4);
    expect(program.stderr).toMatch(/^error: the coordinator .* refused: it does not go by the name .*\n$/);
  });

  test("exits with 5 while another daemon has its folder, not after that was killed", async () => {
    const coordinator = await scriptedCoordinator();
    const dir = await temporaryFolder();
    const first = daemonOf(coordinator, dir);
    await coordinator.nextSession();
    const second = daemonOf(coordinator, dir);
    expect(await second.exitCode()).toBe(5);
    expect(second.stderr).toBe(
      `error: another daemon runs in ${dir}; stop it, or give this one its own with --data-dir\n`,
    );
    first.process.kill("SIGKILL");
    await first.exited;
    daemonOf(coordinator, dir);
    await coordinator.nextSession();
  });

  test("computes, drains at SIGTERM and exits with 0", async () => {
    const coordinator = await scriptedCoordinator();
    const program = daemonOf(coordinator, await temporaryFolder());
    const session = await coordinator.nextSession();
    const { work, frame } = await doTask(session, 256, 3);
    const [result] = frame.results;
    const seed = matmulSeed({ ...work, nodeId: session.hello!.nodeId, specDigest: result!.specDigest });
    expect(equal(result!.output, referenceProduct({ seed, n: 256, k: 3 }))).toBe(true);
    expect(session.resultsVerify(frame)).toBe(true);
    program.process.kill("SIGTERM");
    expect(await session.next("draining")).toEqual({ reason: "SIGTERM" });
    session.acknowledge(frame.results);
    await session.ended;
    expect(await program.exitCode()).toBe(0);
    const lines = program.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).msg);
    expect(lines.slice(0, 2)).toEqual(["measured a thread of this machine", "daemon started"]);
    expect(lines.at(-1)).toBe("daemon stopped");
    expect(lines).toContain("results accepted");
  });

  test("ends at once at a second signal", async () => {
    const coordinator = await scriptedCoordinator();
    const program = daemonOf(coordinator, await temporaryFolder());
    const session = await coordinator.nextSession();
    session.assign(assignment(4096, 64));
    await session.next("progress");
    program.process.kill("SIGINT");
    await session.next("draining");
    program.process.kill("SIGINT");
    expect(await program.exitCode()).toBe(130);
  });

  test("sends what it finished before a kill -9 again after the next start", async () => {
    const coordinator = await scriptedCoordinator();
    const dir = await temporaryFolder();
    const program = daemonOf(coordinator, dir);
    const first = await coordinator.nextSession();
    const small = await doTask(first);
    const large = await doTask(first, 512, 2);
    const written = [small, large].map(({ work }) => toHex(work.assignmentId));
    await expect.poll(() => writtenResults(dir), { timeout: 10_000 }).toEqual(expect.arrayContaining(written));
    program.process.kill("SIGKILL");
    await program.exited;

    daemonOf(coordinator, dir);
    const second = await coordinator.nextSession();
    const held = second.terms.runningAssignmentIds;
    expect(held).toContainEqual(small.work.assignmentId);
    expect(held).toContainEqual(large.work.assignmentId);
    const again = new Map<string, Uint8Array>();
    while (again.size < held.length) {
      const frame = await second.next("results");
      expect(second.resultsVerify(frame)).toBe(true);
      for (const result of frame.results) again.set(toHex(result.assignmentId), result.outputDigest);
    }
    for (const { work, frame } of [small, large]) {
      expect(again.get(toHex(work.assignmentId))).toEqual(frame.results[0]!.outputDigest);
    }
  });

  test("stops a running product at a Cancel, however large", async () => {
    const coordinator = await scriptedCoordinator();
    daemonOf(coordinator, await temporaryFolder());
    const session = await coordinator.nextSession();
    const work = assignment(4096, 64);
    session.assign(work);
    await session.next("progress");
    while ((await session.next("progress")).fraction === 0);
    session.send({ $case: "cancel", value: { assignmentId: work.assignmentId, reason: 1 } });
    expect(await session.next("failure")).toMatchObject({ assignmentId: work.assignmentId, code: 5 });
  });
});
