import { randomBytes } from "node:crypto";
import {
  appendFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { type Hex, toHex } from "@proof-of-compute/proto";
import { finished, recordingLogger, temporaryFolder } from "@proof-of-compute/tests/support/daemon/daemon";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { NETWORK_ID_BYTES, NO_NETWORK } from "../session/network-id.ts";
import { type Finished, Outbox } from "./outbox.ts";
import { decodeRecords, encodeResult, encodeSettled } from "./records.ts";

const LARGE = 300_000;

const idOf = (result: Finished): Hex => toHex(result.assignmentId);

async function open(dir: string, init: { maxBytes?: number; retryMs?: number } = {}) {
  const { logger, lines } = recordingLogger();
  const outbox = new Outbox({ logger }, { dir, maxBytes: 2 ** 30, ...init });
  await outbox.start();
  onTestFinished(() => outbox.stop());
  return { outbox, lines };
}

const fileOf = (dir: string, result: Finished) => join(dir, `${toHex(result.assignmentId).slice(2)}.bin`);

/** An outbox with one large result that an earlier one wrote. */
async function writtenBefore() {
  const dir = join(await temporaryFolder(), "outbox");
  const before = await open(dir);
  const result = finished(LARGE);
  before.outbox.add(result);
  await before.outbox.stop();
  return { dir, result, ...(await open(dir)) };
}

describe("the outbox", () => {
  test("returns unsettled results after a restart, in order, and nothing else", async () => {
    const dir = await temporaryFolder();
    const before = await open(dir);
    const results = [10, LARGE, 65_536, 65_537, 4096, LARGE].map(finished);
    for (const result of results) before.outbox.add(result);
    await expect.poll(() => filesOf(dir)).toHaveLength(4);
    before.outbox.settle(idOf(results[0]!));
    before.outbox.settle(idOf(results[1]!));
    await before.outbox.stop();

    const { outbox } = await open(dir);
    const left = results.slice(2);
    expect(outbox.heads()).toEqual(left.map(({ output: _, ...head }) => head));
    for (const result of left) expect(await outbox.output(idOf(result))).toEqual(result.output);
    expect((await readdir(dir)).filter((name) => name.endsWith(".bin"))).toHaveLength(2);
    for (const result of left) expect(outbox.settle(idOf(result))?.taskId).toEqual(result.taskId);
    expect(outbox.size).toBe(0);
    await outbox.stop();
    await expect.poll(() => readdir(dir)).toEqual([]);
  });

  test("never writes a result that is settled in the turn that added it", async () => {
    const dir = await temporaryFolder();
    const { outbox } = await open(dir);
    const result = finished(100);
    outbox.add(result);
    expect(outbox.settle(idOf(result))).toBeDefined();
    expect(outbox.settle(idOf(result))).toBeUndefined();
    await outbox.stop();
    expect(await readdir(dir)).toEqual([]);
  });

  test("deletes a full segment once its results are settled", async () => {
    const dir = await temporaryFolder();
    const { outbox } = await open(dir);
    for (let round = 0; round < 6; round++) {
      const results = Array.from({ length: 32 }, () => finished(65_536));
      for (const result of results) outbox.add(result);
      await expect.poll(() => outbox.bytes).toBeGreaterThan(32 * 65_536);
      await new Promise((resolve) => setImmediate(resolve));
      for (const result of results) outbox.settle(idOf(result));
    }
    await expect.poll(async () => (await readdir(dir)).length).toBeLessThanOrEqual(1);
  });

  test("cuts a torn tail and appends to the rest", async () => {
    const dir = await temporaryFolder();
    const before = await open(dir);
    const [whole, torn] = [finished(1000), finished(1000)];
    before.outbox.add(whole);
    before.outbox.add(torn);
    await before.outbox.stop();
    const segment = join(dir, (await readdir(dir))[0]!);
    await truncate(segment, (await readFile(segment)).length - 7);

    const { outbox, lines } = await open(dir);
    expect(outbox.heads().map(({ assignmentId }) => assignmentId)).toEqual([whole.assignmentId]);
    expect(lines.map(({ msg }) => msg)).toContain("cut the unfinished end of an outbox segment");
    const next = finished(1000);
    outbox.add(next);
    await outbox.stop();
    const again = await open(dir);
    expect(again.outbox.heads().map(({ assignmentId }) => assignmentId)).toEqual([
      whole.assignmentId,
      next.assignmentId,
    ]);
  });

  test("drops a result whose file was damaged", async () => {
    const { dir, outbox, result } = await writtenBefore();
    await writeFile(fileOf(dir, result), randomBytes(LARGE));
    expect(await outbox.output(idOf(result))).toBeNull();
    expect(outbox.size).toBe(0);
  });

  test("drops a result whose file is missing", async () => {
    const { dir, outbox, result } = await writtenBefore();
    await rm(fileOf(dir, result));
    expect(await outbox.output(idOf(result))).toBeNull();
    expect(outbox.size).toBe(0);
  });

  test.each<[string, (dir: string, result: Finished) => Promise<() => Promise<void>>]>([
    [
      "its file",
      async (dir, result) => {
        const path = fileOf(dir, result);
        await rename(path, `${path}.aside`);
        await mkdir(path);
        return async () => {
          await rmdir(path);
          await rename(`${path}.aside`, path);
        };
      },
    ],
    [
      "its folder",
      async (dir) => {
        await rename(dir, `${dir}.aside`);
        return () => rename(`${dir}.aside`, dir);
      },
    ],
  ])("keeps a result while %s cannot be read, and logs it once", async (_, takeAway) => {
    const { dir, outbox, lines, result } = await writtenBefore();
    const giveBack = await takeAway(dir, result);
    await expect(outbox.output(idOf(result))).rejects.toThrow();
    await expect(outbox.output(idOf(result))).rejects.toThrow();
    expect(lines.map(({ msg }) => msg)).toEqual(["cannot read results from disk, trying again later"]);
    expect(outbox.size).toBe(1);
    await giveBack();
    expect(await outbox.output(idOf(result))).toEqual(result.output);
  });

  test("logs nothing about a result that is settled while it is read", async () => {
    const { outbox, lines, result } = await writtenBefore();
    const output = outbox.output(idOf(result));
    outbox.settle(idOf(result));
    expect(await output).toBeNull();
    expect(lines).toEqual([]);
  });

  test("removes files that no record names", async () => {
    const dir = await temporaryFolder();
    await writeFile(join(dir, "00.bin"), "x");
    await writeFile(join(dir, "00.bin.draft"), "x");
    await open(dir);
    expect(await readdir(dir)).toEqual([]);
  });

  test("refuses results while it is full", async () => {
    const { outbox } = await open(await temporaryFolder(), { maxBytes: 10_000 });
    expect(outbox.refusal(10_000)).toBeUndefined();
    expect(outbox.refusal(10_001)).toMatch(/full/);
    const result = finished(LARGE);
    outbox.add(result);
    expect(outbox.refusal(1)).toMatch(/1 results without a verdict/);
    outbox.settle(idOf(result));
    expect(outbox.refusal(1)).toBeUndefined();
  });

  test.runIf(process.platform === "linux")("keeps results in memory while the disk is full", async () => {
    const dir = await temporaryFolder();
    const { outbox, lines } = await open(dir, { retryMs: 5 });
    await symlink("/dev/full", join(dir, "00000001.log"));
    const result = finished(1000);
    outbox.add(result);
    await expect.poll(() => outbox.refusal(1)).toMatch(/cannot be written to disk \(ENOSPC\)/);
    expect(await outbox.output(idOf(result))).toEqual(result.output);
    expect(outbox.heads()).toHaveLength(1);
    expect(lines.filter(({ msg }) => msg.startsWith("cannot write results"))).toHaveLength(1);
  });

  test("writes pending results once the disk is writable again", async () => {
    const dir = await temporaryFolder();
    const { outbox } = await open(dir, { retryMs: 5 });
    await rm(dir, { recursive: true });
    const result = finished(LARGE);
    outbox.add(result);
    await expect.poll(() => outbox.refusal(1)).toMatch(/ENOENT/);
    await mkdir(dir);
    await expect.poll(() => outbox.refusal(1)).toBeUndefined();
    await outbox.stop();
    expect((await open(dir)).outbox.heads()).toHaveLength(1);
  });
});

describe("records", () => {
  const bytes = (length: number) =>
    fc.uint8Array({ minLength: length, maxLength: length }).map((each) => Buffer.from(each));
  const result = fc.record({
    head: fc.record({
      assignmentId: bytes(16),
      taskId: bytes(16),
      specDigest: bytes(32),
      outputDigest: bytes(32),
      networkId: bytes(28),
    }),
    output: fc.option(fc.uint8Array({ maxLength: 100 }).map((each) => Buffer.from(each))),
  });
  const record = fc.oneof(
    result.map(({ head, output }) => encodeResult({ ...head, outputBytes: output?.length ?? 100_000 }, output)),
    fc.array(bytes(16), { minLength: 1, maxLength: 5 }).map((ids) => encodeSettled(ids)),
  );
  const segment = fc.array(
    record.map((parts) => Buffer.concat(parts)),
    { maxLength: 8 },
  );

  test("are read back as written", () => {
    fc.assert(
      fc.property(result, ({ head, output }) => {
        const whole = { ...head, outputBytes: output?.length ?? 100_000 };
        const written = Buffer.concat(encodeResult(whole, output));
        const [read] = decodeRecords(written).records;
        expect(read).toMatchObject({ type: output ? "inline" : "file", head: whole });
        if (output && read?.type === "inline") {
          expect(written.subarray(read.offset, read.offset + output.length)).toEqual(output);
        }
      }),
    );
  });

  test.each([
    ["inline", 1],
    ["file", 2],
  ] as const)("of versions without network ids are read: %s", (type, code) => {
    const result = finished(100);
    const { output, networkId: _, ...rest } = result;
    const named = encodeResult(result, type === "inline" ? output : null)[0]!;
    const body = Buffer.concat([
      Buffer.of(code),
      named.subarray(9, named.length - NETWORK_ID_BYTES),
      type === "inline" ? output : Buffer.alloc(0),
    ]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32LE(body.length, 0);
    frame.writeUInt32LE(crc32(body), 4);
    const segment = Buffer.concat([frame, body]);
    const { records, goodBytes } = decodeRecords(segment);
    expect(goodBytes).toBe(segment.length);
    expect(records).toMatchObject([{ type, head: { ...rest, networkId: NO_NETWORK } }]);
    if (records[0]?.type === "inline") expect(segment.subarray(records[0].offset)).toEqual(output);
  });

  test("before a cut are whole, and the cut one is left out", () => {
    fc.assert(
      fc.property(segment, fc.nat(), (written, where) => {
        const all = Buffer.concat(written);
        const cut = where % (all.length + 1);
        const { records, goodBytes } = decodeRecords(all.subarray(0, cut));
        let end = 0;
        let whole = 0;
        while (whole < written.length && end + written[whole]!.length <= cut) end += written[whole++]!.length;
        expect(records).toHaveLength(whole);
        expect(goodBytes).toBe(end);
      }),
    );
  });

  test("before a damaged byte are whole, and later ones are ignored", () => {
    fc.assert(
      fc.property(segment, fc.nat(), fc.integer({ min: 1, max: 255 }), (written, where, flip) => {
        fc.pre(written.length > 0);
        const all = Buffer.concat(written);
        const place = where % all.length;
        all[place]! ^= flip;
        const { goodBytes } = decodeRecords(all);
        expect(goodBytes).toBeLessThanOrEqual(place);
      }),
    );
  });

  test("may be followed by garbage", async () => {
    const dir = await temporaryFolder();
    const path = join(dir, "x");
    const good = Buffer.concat(encodeSettled([randomBytes(16)]));
    await appendFile(path, good);
    await appendFile(path, Buffer.alloc(100));
    expect(decodeRecords(await readFile(path)).goodBytes).toBe(good.length);
  });
});

/** Ids of the outputs with files of their own, and segments. */
async function filesOf(dir: string): Promise<string[]> {
  return (await readdir(dir)).filter((name) => !name.endsWith(".draft"));
}
