import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "@proof-of-compute/tests/support/daemon/daemon";
import { verifySignature } from "@proof-of-compute/tests/support/daemon/scripted-coordinator";
import { describe, expect, test } from "vitest";
import { openDataDir } from "./data-dir.ts";
import { Identity, loadIdentity, newIdentity } from "./identity.ts";

describe("the node key", () => {
  test("is created private at the first start, and never changes", async () => {
    const dir = await temporaryFolder();
    const first = await loadIdentity(dir);
    const path = join(dir, "node-key.pem");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(dir)).toEqual(["node-key.pem"]);
    const again = await loadIdentity(dir);
    expect(again.nodeId).toEqual(first.nodeId);
    expect(first.nodeId).toHaveLength(32);
    const message = Buffer.from("a message");
    expect(verifySignature(first.nodeId, message, await again.sign(message))).toBe(true);
    expect((await newIdentity()).nodeId).not.toEqual(first.nodeId);
  });

  test.each([0o640, 0o604, 0o660])("is refused while other users may read it (mode %o)", async (mode) => {
    const dir = await temporaryFolder();
    await loadIdentity(dir);
    const path = join(dir, "node-key.pem");
    await chmod(path, mode);
    await expect(loadIdentity(dir)).rejects.toMatchObject({
      exit: "KEY",
      message: `others can read the node key; run: chmod 600 ${path}`,
    });
  });

  test("is never replaced when it is damaged", async () => {
    const dir = await temporaryFolder();
    const path = join(dir, "node-key.pem");
    await writeFile(path, "damaged", { mode: 0o600 });
    await expect(loadIdentity(dir)).rejects.toMatchObject({ exit: "KEY" });
    expect(await readFile(path, "utf8")).toBe("damaged");
  });

  test("is created once by two concurrent starts", async () => {
    const dir = await temporaryFolder();
    const made = await Promise.allSettled([loadIdentity(dir), loadIdentity(dir)]);
    const ids = made.flatMap((each) => (each.status === "fulfilled" ? [each.value.nodeId.toString("hex")] : []));
    expect(new Set(ids).size).toBe(1);
    expect((await loadIdentity(dir)).nodeId.toString("hex")).toBe(ids[0]);
  });

  test("is an ed25519 key and no other", async () => {
    const { generateKeyPairSync } = await import("node:crypto");
    expect(() => new Identity(generateKeyPairSync("x25519").privateKey)).toThrow(TypeError);
  });
});

describe("the data directory", () => {
  test("belongs to one daemon until it is released", async () => {
    const path = join(await temporaryFolder(), "made", "on", "the", "way");
    const first = await openDataDir(path);
    await expect(openDataDir(path)).rejects.toMatchObject({
      exit: "DATA_DIR",
      message: `another daemon runs in ${path}; stop it, or give this one its own with --data-dir`,
    });
    first.close();
    first.close();
    const second = await openDataDir(path);
    expect(second.identity.nodeId).toEqual(first.identity.nodeId);
    second.close();
  });

  test("is released when its key is refused", async () => {
    const path = await temporaryFolder();
    (await openDataDir(path)).close();
    await chmod(join(path, "node-key.pem"), 0o644);
    await expect(openDataDir(path)).rejects.toMatchObject({ exit: "KEY" });
    await chmod(join(path, "node-key.pem"), 0o600);
    (await openDataDir(path)).close();
  });

  test("that cannot be created is an error with advice", async () => {
    const path = join(await temporaryFolder(), "file");
    await writeFile(path, "");
    await expect(openDataDir(path)).rejects.toMatchObject({
      exit: "DATA_DIR",
      message: /cannot write to the data directory/,
    });
  });
});
