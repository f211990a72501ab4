import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { decodeRecords } from "@proof-of-compute/daemon/outbox/records";
import { toHex } from "@proof-of-compute/proto";
import { onTestFinished } from "vitest";
import { WALLET } from "./daemon.ts";
import type { ScriptedCoordinator } from "./scripted-coordinator.ts";

const url = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Files that run a daemon as a program. */
export const PROGRAMS = {
  /** The one that people run. */
  real: url("../../../daemon/src/main.ts"),
  /** One that knows the echo kind only; see echo-program.ts. */
  echo: url("./echo-program.ts"),
} as const;

/** A daemon as a process of its own, which ends with the test. */
export class DaemonProcess {
  readonly process: ChildProcess;
  readonly exited: Promise<unknown[]>;
  stdout = "";
  stderr = "";

  constructor(program: keyof typeof PROGRAMS, args: readonly string[]) {
    this.process = spawn(process.execPath, [PROGRAMS[program], ...args], { stdio: ["ignore", "pipe", "pipe"] });
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

  /** One of a scripted coordinator, with two slots. */
  static of(
    program: keyof typeof PROGRAMS,
    coordinator: ScriptedCoordinator,
    dataDir: string,
    ...more: readonly string[]
  ): DaemonProcess {
    return new DaemonProcess(program, [
      ...["--wallet-address", WALLET, "--coordinator", coordinator.address, "--data-dir", dataDir],
      ...["--log", "json", "--slots", "2", ...more],
    ]);
  }

  async exitCode(): Promise<number | null> {
    await this.exited;
    return this.process.exitCode;
  }
}

/** Assignment ids of the results in a data directory's outbox. */
export async function writtenResults(dir: string): Promise<string[]> {
  const outbox = join(dir, "outbox", WALLET.toLowerCase());
  const segments = (await readdir(outbox)).filter((name) => name.endsWith(".log"));
  const contents = await Promise.all(segments.map((name) => readFile(join(outbox, name))));
  return contents
    .flatMap((content) => decodeRecords(content).records)
    .flatMap((record) => (record.type === "settled" ? [] : [toHex(record.head.assignmentId)]));
}
