import type { Address } from "@proof-of-compute/proto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { buildBatch, limitProviders } from "./batch.ts";
import type { Receipt } from "./receipt.ts";

const provider = fc.constantFrom("0xAa", "0xaB", "0x0c", "0x0D").map((prefix) => prefix.padEnd(42, "0") as Address);
const receipts = fc
  .array(fc.record({ provider, units: fc.bigInt({ min: 1n, max: 2n ** 80n }) }), { minLength: 1, maxLength: 30 })
  .map((some) => some.map((one, index) => ({ ...one, receiptId: `0x${index}` }) as unknown as Receipt));

test("credits each provider once, with the sum of its receipts, ordered by address", () => {
  fc.assert(
    fc.property(receipts, (some) => {
      const batch = buildBatch(7, some, "0x01", 123);
      expect(batch).toMatchObject({ id: 7, root: "0x01", closedAt: 123, state: "closed" });
      expect(batch.receiptIds).toEqual(some.map(({ receiptId }) => receiptId));
      const addresses = batch.credits.map((credit) => credit.provider.toLowerCase());
      expect(addresses).toEqual([...new Set(addresses)].toSorted());
      for (const credit of batch.credits) {
        const own = some.filter((receipt) => receipt.provider === credit.provider);
        expect(credit.units).toBe(own.reduce((sum, { units }) => sum + units, 0n));
      }
      expect(batch.units).toBe(some.reduce((sum, { units }) => sum + units, 0n));
    }),
  );
});

test("takes the longest prefix whose providers fit", () => {
  fc.assert(
    fc.property(receipts, fc.integer({ min: 1, max: 4 }), (some, most) => {
      const taken = limitProviders(some, most);
      const providers = (list: readonly Receipt[]) => new Set(list.map((receipt) => receipt.provider)).size;
      expect(taken).toEqual(some.slice(0, taken.length));
      expect(taken.length).toBeGreaterThan(0);
      expect(providers(taken)).toBeLessThanOrEqual(most);
      if (taken.length < some.length) expect(providers(some.slice(0, taken.length + 1))).toBeGreaterThan(most);
    }),
  );
});
