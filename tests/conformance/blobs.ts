import { createHash, randomBytes } from "node:crypto";
import type { Blobs } from "@proof-of-compute/coordinator/ports/blobs";
import type { Hex } from "@proof-of-compute/proto";
import { describe, expect, test } from "vitest";

export const digestOf = (bytes: Uint8Array): Hex => `0x${createHash("sha256").update(bytes).digest("hex")}`;

/** What every adapter of the {@link Blobs} port must do. `make` gives an empty one and a way to reopen the same data. */
export function describeBlobs(name: string, make: () => Promise<{ blobs: Blobs; reopen(): Promise<Blobs> }>): void {
  describe(`${name} as Blobs`, () => {
    test.each([0, 1, 65_536, 5_000_000])("keeps %i bytes, over a restart too", async (length) => {
      const { blobs, reopen } = await make();
      const bytes = randomBytes(length);
      await blobs.put(digestOf(bytes), bytes);
      for (const reader of [blobs, await reopen()]) {
        expect(Buffer.compare((await reader.get(digestOf(bytes)))!, bytes)).toBe(0);
      }
    });

    test("answers null for what it was never given", async () => {
      const { blobs } = await make();
      expect(await blobs.get(digestOf(Buffer.of(1)))).toBeNull();
    });

    test("forgets what it is told to, as often as it is told", async () => {
      const { blobs, reopen } = await make();
      const [kept, dropped] = [randomBytes(10), randomBytes(10)];
      for (const bytes of [kept, dropped]) await blobs.put(digestOf(bytes), bytes);
      await blobs.delete(digestOf(dropped));
      await blobs.delete(digestOf(dropped));
      for (const reader of [blobs, await reopen()]) {
        expect([await reader.has(digestOf(kept)), await reader.has(digestOf(dropped))]).toEqual([true, false]);
        expect(await reader.get(digestOf(dropped))).toBeNull();
      }
      await blobs.put(digestOf(dropped), dropped);
      expect(await blobs.has(digestOf(dropped))).toBe(true);
    });

    test("refuses bytes that do not fit the digest and keeps nothing", async () => {
      const { blobs } = await make();
      const digest = digestOf(Buffer.of(1));
      await expect(blobs.put(digest, Buffer.of(2))).rejects.toMatchObject({ code: "INVALID_REQUEST" });
      expect(await blobs.get(digest)).toBeNull();
    });

    test.each(["0x", "0x../../etc/passwd", `0x${"AB".repeat(32)}`])("refuses %s as a digest", async (digest) => {
      const { blobs } = await make();
      for (const call of ["get", "has", "delete"] as const) {
        await expect(blobs[call](digest as Hex)).rejects.toMatchObject({ code: "INVALID_REQUEST" });
      }
    });

    test("keeps the same bytes once, however often and at once they come", async () => {
      const { blobs } = await make();
      const bytes = randomBytes(10_000);
      await Promise.all(Array.from({ length: 20 }, () => blobs.put(digestOf(bytes), bytes)));
      expect(Buffer.compare((await blobs.get(digestOf(bytes)))!, bytes)).toBe(0);
    });
  });
}
