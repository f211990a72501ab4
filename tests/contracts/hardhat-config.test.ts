import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { beforeEach, expect, test } from "vitest";

const CONFIG = pathToFileURL(join(import.meta.dirname, "../../hardhat.config.ts")).href;
const SHOW = `console.log(JSON.stringify((await import(${JSON.stringify(CONFIG)})).default.verify.etherscan.apiKey))`;

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hardhat-config-"));
  return () => rm(folder, { recursive: true });
});

/** The key that `npx hardhat verify` would use here. */
async function apiKey(variables: Record<string, string>): Promise<unknown> {
  const env = { PATH: process.env.PATH, ...variables };
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", SHOW], {
    cwd: folder,
    env,
  });
  return JSON.parse(stdout);
}

test("takes the explorer's key from the environment, or else from .env", async () => {
  const fromEnvironment = { _type: "ConfigurationVariable", name: "ETHERSCAN_API_KEY" };
  expect(await apiKey({})).toMatchObject(fromEnvironment);
  await writeFile(join(folder, ".env"), "ETHERSCAN_API_KEY=of-the-file\n");
  expect(await apiKey({})).toBe("of-the-file");
  expect(await apiKey({ ETHERSCAN_API_KEY: "mine" })).toMatchObject(fromEnvironment);
});
