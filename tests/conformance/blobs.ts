import { createHash, randomBytes } from "node:crypto";
import type { Blobs, StoredBlob } from "@proof-of-compute/coordinator/ports/blobs";
import type { Hex } from "@proof-of-compute/proto";
import { describe, expect, test } from "vitest";

export const digestOf = (bytes: Uint8Array): Hex => `0x${createHash("sha256").update(bytes).digest("hex")}`;

/** An empty adapter and what the suite needs around it. */
export interface MadeBlobs {
  readonly blobs: Blobs;
  /** Another adapter on the same data. */
  reopen(): Promise<Blobs>;
  /** Makes every blob older by this many milliseconds. */
  makeOlder(ms: number): Promise<void>;
}

/** Below and above the size from which MongoDB stores a blob as a file. */
const SIZES = [65_537, 2_000_000] as const;

/** What every adapter of the {@link Blobs} port must do. */
export function describeBlobs(name: string, make: () => Promise<MadeBlobs>): void {
  describe(`${name} as Blobs`, () => {
    test.each([0, 1, 65_536, 5_000_000])("keeps %i bytes, also across a restart", async (length) => {
      const { blobs, reopen } = await make();
      const bytes = randomBytes(length);
      await blobs.put(digestOf(bytes), bytes);
      for (const reader of [blobs, await reopen()]) {
        expect(Buffer.compare((await reader.get(digestOf(bytes)))!, bytes)).toBe(0);
      }
    });

    test("returns null for a blob that was never put", async () => {
      const { blobs } = await make();
      const digest = digestOf(Buffer.of(1));
      expect([await blobs.get(digest), await blobs.has(digest), await blobs.find([digest])]).toEqual([null, false, []]);
      expect(await blobs.list({ limit: 10 })).toEqual([]);
    });

    test.each(SIZES)("deletes a blob of %i bytes, once", async (length) => {
      const { blobs, reopen } = await make();
      const [kept, dropped] = [randomBytes(length), randomBytes(length)];
      for (const bytes of [kept, dropped]) await blobs.put(digestOf(bytes), bytes);
      const found = await only(blobs, digestOf(dropped));
      expect(await blobs.delete(found)).toBe(true);
      expect(await blobs.delete(found)).toBe(false);
      for (const reader of [blobs, await reopen()]) {
        expect([await reader.has(digestOf(kept)), await reader.has(digestOf(dropped))]).toEqual([true, false]);
        expect(await reader.get(digestOf(dropped))).toBeNull();
        expect(await reader.find([digestOf(dropped)])).toEqual([]);
      }
      await blobs.put(digestOf(dropped), dropped);
      expect(Buffer.compare((await blobs.get(digestOf(dropped)))!, dropped)).toBe(0);
      expect(await blobs.delete(found)).toBe(false);
      expect(await blobs.has(digestOf(dropped))).toBe(true);
    });

    test.each(SIZES)("a blob of %i bytes that is put again is young and stays", async (length) => {
      const { blobs, makeOlder } = await make();
      const bytes = randomBytes(length);
      await blobs.put(digestOf(bytes), bytes);
      await makeOlder(10_000_000);
      const found = await only(blobs, digestOf(bytes));
      expect(found.ageMs).toBeGreaterThanOrEqual(10_000_000);
      expect(found.ageMs).toBeLessThan(10_600_000);
      await blobs.put(digestOf(bytes), bytes);
      const again = await only(blobs, digestOf(bytes));
      expect(again.ageMs).toBeLessThan(600_000);
      expect(await blobs.delete(found)).toBe(false);
      expect(Buffer.compare((await blobs.get(digestOf(bytes)))!, bytes)).toBe(0);
      expect(await blobs.delete(again)).toBe(true);
    });

    test("lists blobs of all sizes by digest, page by page", async () => {
      const { blobs, reopen } = await make();
      const all = Array.from({ length: 21 }, (_, n) => randomBytes(n % 7 === 0 ? SIZES[1] : 10 + n));
      await Promise.all(all.map((bytes) => blobs.put(digestOf(bytes), bytes)));
      const digests = all.map(digestOf).toSorted();
      for (const reader of [blobs, await reopen()]) {
        for (const limit of [1, 4, 21, 100]) {
          const listed: StoredBlob[] = [];
          for (;;) {
            const after = listed.at(-1)?.sha256;
            const page = await reader.list({ ...(after !== undefined && { after }), limit });
            listed.push(...page);
            expect(page.length).toBeLessThanOrEqual(limit);
            if (page.length < limit) break;
          }
          expect(listed.map(({ sha256 }) => sha256)).toEqual(digests);
          for (const { ageMs } of listed) expect(ageMs).toBeLessThan(600_000);
        }
      }
      expect(await blobs.list({ limit: 0 })).toEqual([]);
      const some = [digests[3]!, digests[7]!, digestOf(Buffer.of(1))];
      const found = await blobs.find(some);
      expect(found.map(({ sha256 }) => sha256).toSorted()).toEqual(some.slice(0, 2));
    });

    test.each(SIZES)(
      "puts and deletions of %i bytes at once leave a blob that the last put is sure of",
      async (length) => {
        const { blobs, reopen } = await make();
        const another = await reopen();
        const bytes = randomBytes(length);
        const digest = digestOf(bytes);
        await blobs.put(digest, bytes);
        for (let round = 0; round < 20; round++) {
          const found = await blobs.find([digest]);
          const outcomes = await Promise.all([
            ...found.map((each) => blobs.delete(each)),
            blobs.put(digest, bytes),
            ...found.map((each) => blobs.delete(each)),
          ]);
          expect(outcomes.filter((deleted) => deleted === true).length).toBeLessThanOrEqual(found.length);
          expect(Buffer.compare((await another.get(digest))!, bytes)).toBe(0);
        }
      },
    );

    test("refuses bytes that do not match the digest, and stores nothing", async () => {
      const { blobs } = await make();
      const digest = digestOf(Buffer.of(1));
      await expect(blobs.put(digest, Buffer.of(2))).rejects.toMatchObject({ code: "INVALID_REQUEST" });
      expect(await blobs.get(digest)).toBeNull();
    });

    test.each(["0x", "0x../../etc/passwd", `0x${"AB".repeat(32)}`] as Hex[])(
      "refuses %s as a digest",
      async (digest) => {
        const { blobs } = await make();
        const calls = [
          () => blobs.get(digest),
          () => blobs.has(digest),
          () => blobs.find([digest]),
          () => blobs.list({ after: digest, limit: 1 }),
          () => blobs.delete({ sha256: digest, putId: "1" }),
        ];
        for (const call of calls) await expect(call()).rejects.toMatchObject({ code: "INVALID_REQUEST" });
      },
    );

    test("stores the same bytes when they are put many times at once", async () => {
      const { blobs } = await make();
      const bytes = randomBytes(10_000);
      await Promise.all(Array.from({ length: 20 }, () => blobs.put(digestOf(bytes), bytes)));
      expect(Buffer.compare((await blobs.get(digestOf(bytes)))!, bytes)).toBe(0);
    });
  });
}

async function only(blobs: Blobs, digest: Hex): Promise<StoredBlob> {
  const found = await blobs.find([digest]);
  expect(found.map(({ sha256 }) => sha256)).toEqual([digest]);
  return found[0]!;
}
