/**
 * Makes a fresh clone ready to run: `node scripts/setup.mjs [contracts] [hub] [browser] [mongo]`.
 *
 * Every npm script calls it first, so it runs on any Node (hence plain JavaScript of 2020 without dependencies), and is quick
 * if there is nothing to do. It always installs the packages, with a Node 24 that npm scripts then find first, and the
 * generated code; the arguments name further steps.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const MODULES = join(ROOT, "node_modules");
const MARKER = join(MODULES, ".setup.json");
const LOCK = join(MODULES, ".setup.lock");
const WINDOWS = process.platform === "win32";
const NODE_24 = join(MODULES, "node", "bin", WINDOWS ? "node.exe" : "node");

/** The steps, in order. A step is skipped if its output exists and its inputs have not changed. */
const STEPS = [
  {
    name: "packages",
    title: "Installing packages and Node 24 (a minute or so, the first time)",
    inputs: ["package.json", "package-lock.json", ".npmrc", ...workspaces().map((name) => `${name}/package.json`)],
    output: "node_modules/node/bin",
    run: installPackages,
  },
  {
    name: "generated",
    title: "Generating code from proto/",
    inputs: [
      ...["buf.yaml", "buf.gen.yaml", "scripts/generate.ts", "package-lock.json"],
      ...["proto/proofofcompute", "proto/grpc", "proto/kernel"],
    ],
    output: "proto/gen",
    run: () => node("scripts/generate.ts"),
  },
  {
    name: "contracts",
    title: "Compiling the contract",
    inputs: ["contracts", "hardhat.config.ts", "package-lock.json"],
    output: "artifacts",
    run: () => node("node_modules/hardhat/dist/src/cli.js", "compile"),
  },
  {
    name: "hub",
    title: "Building the hub",
    inputs: ["hub", "proto", "package-lock.json"],
    output: "hub/build/index.html",
    run: () => npm(["run", "build", "--workspace", "hub"]),
  },
  {
    name: "browser",
    title: "Looking for a browser for the tests",
    inputs: null,
    run: () => node("scripts/browser.ts"),
  },
  {
    name: "mongo",
    title: "Looking for a MongoDB for the tests, or building a stand-in",
    inputs: ["tests/support/mongo-stand-in"],
    output: "node_modules/.cache/mongo-stand-in",
    // Not a failure if there is none: the tests that need it say so.
    run: async () => process.stderr.write(await node("tests/support/mongo-stand-in/build.ts")),
  },
];

/** Whether the steps themselves write to a folder. */
function isMade(name) {
  return name.startsWith(".") || ["node_modules", "gen", "build"].includes(name);
}

class SetupError extends Error {}

function workspaces() {
  return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).workspaces;
}

/** Digest of files and folders, with their names. */
function digest(inputs) {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}\n`);
  const add = (path) => {
    const full = join(ROOT, path);
    if (!existsSync(full)) return;
    if (statSync(full).isDirectory()) {
      for (const name of readdirSync(full).sort()) if (!isMade(name)) add(`${path}/${name}`);
    } else if (!path.endsWith(".test.ts")) {
      hash.update(`${path}\n`).update(readFileSync(full)).update("\n");
    }
  };
  inputs.forEach(add);
  return hash.digest("hex");
}

function readMarker() {
  try {
    return JSON.parse(readFileSync(MARKER, "utf8"));
  } catch {
    return {};
  }
}

function isDone(step) {
  if (step.inputs === null || !existsSync(join(ROOT, step.output))) return false;
  return readMarker()[step.name] === digest(step.inputs);
}

function markDone(step) {
  if (step.inputs === null) return;
  const marker = Object.assign(readMarker(), { [step.name]: digest(step.inputs) });
  writeFileSync(`${MARKER}.${process.pid}`, JSON.stringify(marker, null, 2));
  renameSync(`${MARKER}.${process.pid}`, MARKER);
}

/** Runs a program; prints its output only if it fails. */
function run(command, args) {
  const env = Object.assign({}, process.env, { npm_config_loglevel: "error" });
  const path = Object.keys(env).find((name) => name.toUpperCase() === "PATH") || "PATH";
  env[path] = join(MODULES, ".bin") + (WINDOWS ? ";" : ":") + env[path];
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, env, shell: WINDOWS, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const keep = (chunk) => {
      output += chunk;
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (error) => reject(new SetupError(`cannot run ${command}: ${error.message}`)));
    child.on("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new SetupError(`${[command, ...args].join(" ")} failed (exit code ${code}):\n${output.trim()}`));
    });
  });
}

function node(...args) {
  return run(NODE_24, args);
}

/** Arguments that start npm under a given Node: npm's own script if it is known, else the npm on the path. */
function npmCommand() {
  const script = process.env.npm_execpath;
  return script?.endsWith("npm-cli.js") ? ["node", script] : ["npm"];
}

function npm(args) {
  const [command, ...before] = npmCommand();
  return run(command, [...before, ...args]);
}

async function installPackages() {
  // Under an old Node, npm silently omits platform packages that need a newer one, so run npm itself under Node 24. Not
  // `npm ci`: it refuses a lockfile without the packages of every platform.
  const args = [...npmCommand(), "install", "--no-save", "--no-fund", "--no-audit"];
  try {
    if (Number(process.versions.node.split(".")[0]) >= 22 && process.execPath !== NODE_24)
      await run(args[0], args.slice(1));
    else await run("npx", ["-y", "-p", "node@24", ...args]);
  } catch (error) {
    if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT/.test(error.message)) {
      const registry = process.env.npm_config_registry || "https://registry.npmjs.org/";
      throw new SetupError(
        `npm cannot reach ${registry}. The first set-up needs it, once: go online (or name a mirror with ` +
          `\`npm config set registry …\`) and run the same command again.\n\n${error.message}`,
      );
    }
    throw error;
  }
  if (!existsSync(NODE_24)) {
    throw new SetupError(`${NODE_24} is missing after the install; delete node_modules and run the same command again`);
  }
  // Long-running npm scripts start with the shell's `exec`. Without a shell in between, a signal to npm reaches the program,
  // and npm returns the program's exit code. cmd.exe has no such command.
  if (WINDOWS) writeFileSync(join(MODULES, ".bin", "exec.cmd"), "@%*\r\n");
}

/** Prints the step, and every ten seconds that it is still running. */
async function report(title, work) {
  const started = Date.now();
  const seconds = () => `${((Date.now() - started) / 1000).toFixed(0)} s`;
  console.error(`set-up: ${title} …`);
  const timer = setInterval(() => console.error(`set-up:   still at it, ${seconds()}`), 10000);
  try {
    await work();
    console.error(`set-up:   done in ${seconds()}`);
  } finally {
    clearInterval(timer);
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Allows one set-up at a time; takes over the lock of a dead process. */
async function withLock(work) {
  const owner = join(LOCK, "pid");
  const mine = `${LOCK}.${process.pid}`;
  mkdirSync(mine, { recursive: true });
  writeFileSync(join(mine, "pid"), String(process.pid));
  for (let told = false; ; ) {
    try {
      // Renaming a folder onto a folder with content fails, so the lock appears together with its owner's file.
      renameSync(mine, LOCK);
      break;
    } catch (error) {
      if (!["EEXIST", "ENOTEMPTY", "EPERM"].includes(error.code)) throw error;
    }
    let pid = 0;
    try {
      pid = Number(readFileSync(owner, "utf8"));
    } catch {
      // It has just been released.
      continue;
    }
    if (!isAlive(pid)) {
      rmSync(LOCK, { recursive: true, force: true });
      continue;
    }
    if (!told) console.error(`set-up: waiting for the one of process ${pid} (if that is none, delete ${LOCK})`);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  try {
    return await work();
  } finally {
    rmSync(LOCK, { recursive: true, force: true });
  }
}

async function main() {
  const wanted = new Set(["packages", "generated", ...process.argv.slice(2)]);
  for (const name of wanted) {
    if (!STEPS.some((step) => step.name === name)) throw new SetupError(`there is no set-up step "${name}"`);
  }
  const steps = STEPS.filter((step) => wanted.has(step.name));
  if (steps.every(isDone)) return;
  await withLock(async () => {
    for (const step of steps) {
      if (isDone(step)) continue;
      if (step.inputs === null) await step.run();
      else await report(step.title, step.run);
      markDone(step);
    }
  });
}

main().catch((error) => {
  console.error(`set-up failed: ${error instanceof SetupError ? error.message : error.stack}`);
  process.exit(1);
});
