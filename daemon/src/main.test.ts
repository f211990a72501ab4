import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { status } from "@grpc/grpc-js";
import { toHex } from "@proof-of-compute/proto";
import {
  assignmentOf,
  scriptedCoordinator,
  temporaryFolder,
  WALLET,
} from "@proof-of-compute/tests/support/daemon/daemon";
import { DaemonProcess, writtenResults } from "@proof-of-compute/tests/support/daemon/daemon-process";
import type { ScriptedCoordinator, ScriptedSession } from "@proof-of-compute/tests/support/daemon/scripted-coordinator";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { openDataDir } from "./data-dir.ts";

const daemonOf = (coordinator: ScriptedCoordinator, dataDir: string) => DaemonProcess.of("echo", coordinator, dataDir);

/** Signals that come sooner after the first are the same request. */
const SECOND_REQUEST_MS = 1_100;

const program = (...args: readonly string[]) => new DaemonProcess("real", args);

/** An echo task. */
const echoOf = (text: string) => assignmentOf({ $case: "echo", value: { input: new TextEncoder().encode(text) } });

/** One task from assignment to result. */
async function doTask(session: ScriptedSession, text: string) {
  const work = echoOf(text);
  session.assign(work);
  return { work, frame: await session.next("results") };
}

describe("the program", () => {
  test("prints help and version", async () => {
    const [help, version] = [program("--help"), program("--version")];
    expect(await help.exitCode()).toBe(0);
    expect(help.stdout).toMatch(/Exit codes:/);
    expect(await version.exitCode()).toBe(0);
    expect(version.stdout).toBe("0.1.0\n");
  });

  test("exits with 2 and one line for a wrong wallet", async () => {
    const wrong = program("--wallet-address", "xdc12");
    expect(await wrong.exitCode()).toBe(2);
    expect(wrong.stderr).toBe(
      'error: --wallet-address "xdc12" is not a wallet address: an address has 40 hex digits after its prefix, this one has 2\n',
    );
    expect(wrong.stdout).toBe("");
  });

  test("exits with 3 when others can read its key", async () => {
    const dir = await temporaryFolder();
    (await openDataDir(dir)).close();
    await chmod(join(dir, "node-key.pem"), 0o644);
    const refusing = program("--wallet-address", WALLET, "--data-dir", dir);
    expect(await refusing.exitCode()).toBe(3);
    expect(refusing.stderr).toBe(`error: others can read the node key; run: chmod 600 ${join(dir, "node-key.pem")}\n`);
  });

  test("exits with 4 when it is refused", async () => {
    const coordinator = await scriptedCoordinator();
    coordinator.refusal = { code: status.FAILED_PRECONDITION, error: "AUDIENCE_REFUSED", details: "not my name" };
    const daemon = daemonOf(coordinator, await temporaryFolder());
    expect(await daemon.exitCode()).toBe(4);
    expect(daemon.stderr).toMatch(/^error: the coordinator .* refused: \S+ is not one of its names: .*\n$/);
  });

  test("exits with 5 while another daemon uses its folder, and starts once that one was killed", async () => {
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

  test("reaches a coordinator on this machine whatever proxy the environment names", async () => {
    vi.stubEnv("http_proxy", "http://127.0.0.1:1");
    vi.stubEnv("https_proxy", "http://127.0.0.1:1");
    vi.stubEnv("no_proxy", "");
    onTestFinished(() => void vi.unstubAllEnvs());
    const coordinator = await scriptedCoordinator();
    daemonOf(coordinator, await temporaryFolder());
    await coordinator.nextSession();
  });

  test("computes, drains at SIGTERM and exits with 0", async () => {
    const coordinator = await scriptedCoordinator();
    const daemon = daemonOf(coordinator, await temporaryFolder());
    const session = await coordinator.nextSession();
    const { frame } = await doTask(session, "hello");
    expect(new TextDecoder().decode(frame.results[0]!.output)).toBe("hello");
    expect(session.resultsVerify(frame)).toBe(true);
    daemon.process.kill("SIGTERM");
    expect(await session.next("draining")).toEqual({ reason: "SIGTERM" });
    session.acknowledge(frame.results);
    await session.ended;
    expect(await daemon.exitCode()).toBe(0);
    const lines = daemon.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).msg);
    expect(lines.slice(0, 2)).toEqual(["measured the speed of a slot", "daemon started"]);
    expect(lines.at(-1)).toBe("daemon stopped");
    expect(lines).toContain("results accepted");
  });

  test("takes a signal that comes twice for one, and ends at once at a second request", async () => {
    const coordinator = await scriptedCoordinator();
    const daemon = daemonOf(coordinator, await temporaryFolder());
    const session = await coordinator.nextSession();
    session.assign(echoOf("hold"));
    await session.next("progress");
    daemon.process.kill("SIGINT");
    await session.next("draining");
    // The same key press, which npm passes on.
    daemon.process.kill("SIGINT");
    await sleep(SECOND_REQUEST_MS);
    expect(daemon.process.exitCode).toBeNull();
    daemon.process.kill("SIGINT");
    expect(await daemon.exitCode()).toBe(130);
  });

  test("sends finished results again after kill -9 and the next start", async () => {
    const coordinator = await scriptedCoordinator();
    const dir = await temporaryFolder();
    const daemon = daemonOf(coordinator, dir);
    const { work, frame } = await doTask(await coordinator.nextSession(), "kept");
    await expect.poll(() => writtenResults(dir), { timeout: 10_000 }).toContain(toHex(work.assignmentId));
    daemon.process.kill("SIGKILL");
    await daemon.exited;

    daemonOf(coordinator, dir);
    const second = await coordinator.nextSession();
    expect(second.terms.runningAssignmentIds).toEqual([work.assignmentId]);
    const again = await second.next("results");
    expect(second.resultsVerify(again)).toBe(true);
    expect(again.results).toEqual(frame.results);
  });
});
