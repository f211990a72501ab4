/**
 * Builds the stand-in for MongoDB, once for each version of its sources. As a program, which the set-up runs before
 * `npm test`, it does so only where the tests would use it, and ends well where it cannot: they then say what is missing.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { findMongod } from "../mongod.ts";

const run = promisify(execFile);

const SOURCES = fileURLToPath(new URL(".", import.meta.url));
const CACHE = fileURLToPath(new URL("../../../node_modules/.cache/mongo-stand-in", import.meta.url));

/** There is no MongoDB on this machine, nor what a stand-in is built with; the message says what would help. */
export class MongoMissing extends Error {
  override readonly name = "MongoMissing";
}

/**
 * Java's class path for the stand-in, which is built when it was not yet, whoever else builds it just now. Throws
 * MongoMissing when it cannot be.
 */
export async function standInClassPath(cache = CACHE): Promise<string> {
  const folder = join(cache, await digest());
  const classPath = [join(folder, "classes"), join(folder, "lib", "*")].join(delimiter);
  if (existsSync(folder)) return classPath;
  await mkdir(cache, { recursive: true });
  const made = await mkdtemp(join(cache, "building-"));
  try {
    await compile(made);
    await rename(made, folder);
  } catch (cause) {
    // Somebody else was as quick: a folder is never renamed onto one that holds something.
    if (existsSync(folder)) return classPath;
    throw cause;
  } finally {
    await rm(made, { recursive: true, force: true });
  }
  return classPath;
}

async function sources(): Promise<string[]> {
  const names = await readdir(SOURCES);
  return names.filter((name) => name.endsWith(".java") || name === "pom.xml").sort();
}

async function digest(): Promise<string> {
  const hash = createHash("sha256");
  for (const name of await sources()) hash.update(`${name}\n`).update(await readFile(join(SOURCES, name)));
  return hash.digest("hex").slice(0, 16);
}

async function compile(folder: string): Promise<void> {
  const lib = join(folder, "lib");
  const java = (await sources()).filter((name) => name.endsWith(".java")).map((name) => join(SOURCES, name));
  const copy = ["dependency:copy-dependencies", `-DoutputDirectory=${lib}`];
  await tool("mvn", ["-q", "-B", "-f", join(SOURCES, "pom.xml"), ...copy]);
  await tool("javac", ["-nowarn", "-cp", join(lib, "*"), "-d", join(folder, "classes"), ...java]);
}

async function tool(command: string, args: readonly string[]): Promise<void> {
  try {
    await run(command, args);
  } catch (cause) {
    const { code, stdout, stderr } = cause as { code: unknown; stdout?: string; stderr?: string };
    const why = code === "ENOENT" ? "is not installed" : `failed:\n${stdout ?? ""}${stderr ?? ""}`;
    const remedy = "set MONGODB_URI, put mongod on the PATH, or install Maven and a JDK (17 or newer) for the stand-in";
    throw new MongoMissing(`no MongoDB for the tests: ${command} ${why}. To have one, ${remedy}`, { cause });
  }
}

async function main(): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  if (process.env.MONGODB_URI || findMongod()) {
    console.log("set-up:   there is one, no stand-in is needed");
    return;
  }
  try {
    await standInClassPath();
    console.log("set-up:   the tests will use the stand-in");
  } catch (error) {
    if (!(error instanceof MongoMissing)) throw error;
    console.log(`set-up:   ${error.message}`);
  }
}

if (import.meta.main) await main();
