import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Wallet } from "ethers";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { freePort } from "../support/process.ts";
import { PATIENCE } from "../support/test-network.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TERMINAL = fileURLToPath(new URL("../support/terminal.py", import.meta.url));
const CTRL_C = "\u0003";
/** dash as Debian has it leaves itself between npm and a program; bash, which is sh elsewhere, takes itself out. */
const SHELLS = ["sh", "bash"].filter(exists);

/** The three programs that run until they are told to stop: what they print once they run, and last of all. */
const PROGRAMS = {
  start: { script: "scripts/local.ts", runs: "all of it on this machine", last: /ended\s*$/ },
  daemon: { script: "daemon/src/main.ts", runs: "daemon started", last: /daemon stopped"\}\s*$/ },
  coordinator: { script: "coordinator/src/main.ts", runs: "coordinator ready", last: /"stopped"\}\s*$/ },
} as const;
type Name = keyof typeof PROGRAMS;
const NAMES = Object.keys(PROGRAMS) as Name[];

let folder: string;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "proof-of-compute-signals-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }));
  env = {
    ...process.env,
    ...{ GRPC_ADDRESS: `127.0.0.1:${await freePort()}`, HTTP_ADDRESS: `127.0.0.1:${await freePort()}` },
    ...{ COORDINATOR: `127.0.0.1:${await freePort()}`, WALLET_ADDRESS: Wallet.createRandom().address },
    ...{ DATA_DIR: join(folder, "data"), DAEMON_DATA_DIR: join(folder, "daemon") },
    ...{ MONGODB_URI: "", XDC_RPC_URL: "", LOG: "json", LOG_FORMAT: "json", LOG_LEVEL: "info", NO_COLOR: "1" },
  };
});

function exists(command: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${command}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Ends a command and what it started, a terminal with everybody in it too. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended, as it should.
  }
}

async function argumentsOf(name: Name): Promise<string[]> {
  return name === "start" ? ["--no-task", "--chain-address", `127.0.0.1:${await freePort()}`] : [];
}

/** As people start it. The set-up that comes first has run, and is not what these tests are about. */
async function underNpm(name: Name): Promise<string[]> {
  return ["npm", "run", "--silent", "--ignore-scripts", name, "--", ...(await argumentsOf(name))];
}

/** Runs a command; `exit` is its exit code and signal. */
function run([command, ...args]: string[], more: NodeJS.ProcessEnv = {}) {
  const child = spawn(command!, args, { cwd: ROOT, env: { ...env, ...more }, detached: true });
  onTestFinished(() => killGroup(child.pid!));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  return { child, exit: once(child, "close"), output: () => output };
}

async function untilRunning(program: ReturnType<typeof run>, name: Name): Promise<void> {
  await expect.poll(program.output, PATIENCE).toContain(PROGRAMS[name].runs);
}

describe("one Ctrl-C in a terminal is one request to stop", () => {
  beforeEach(({ skip }) => skip(!exists("python3"), "needs python3 for a terminal"));

  async function endsWell(name: Name, command: string[], more: NodeJS.ProcessEnv = {}): Promise<void> {
    const program = run(["python3", TERMINAL, ...command], more);
    await untilRunning(program, name);
    program.child.stdin.write(CTRL_C);
    expect([await program.exit, program.output()]).toEqual([[0, null], expect.stringMatching(PROGRAMS[name].last)]);
  }

  test.each(SHELLS.flatMap((shell) => NAMES.map((name) => ({ shell, name }))))(
    "npm run $name, where npm's shell is $shell",
    async ({ shell, name }) => {
      await endsWell(name, await underNpm(name), { npm_config_script_shell: shell });
    },
  );

  test.each(NAMES)("%s without npm", async (name) => {
    await endsWell(name, [process.execPath, PROGRAMS[name].script, ...(await argumentsOf(name))]);
  });
});

describe("npm stands for the program that it runs", () => {
  test.each(SHELLS.flatMap((shell) => NAMES.map((name) => ({ shell, name }))))(
    "SIGTERM to npm run $name, where its shell is $shell, ends it well, and npm waits for it",
    async ({ shell, name }) => {
      const program = run(await underNpm(name), { npm_config_script_shell: shell });
      await untilRunning(program, name);
      program.child.kill("SIGTERM");
      expect([await once(program.child, "exit"), program.output()]).toEqual([
        [0, null],
        expect.stringMatching(PROGRAMS[name].last),
      ]);
    },
  );

  test("the exit code of the program is npm's", async () => {
    const program = run(await underNpm("daemon"), { WALLET_ADDRESS: "nobody" });
    expect(await program.exit).toEqual([2, null]);
  });
});
