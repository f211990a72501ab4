import fc from "fast-check";
import { expect, test } from "vitest";
import { capFee, type Fee, feePerGas, leastFeePerGas, raiseFee, sameFee, tipPerGas } from "./fees.ts";

const wei = fc.bigInt({ min: 0n, max: 10n ** 15n });
const fee: fc.Arbitrary<Fee> = fc.oneof(
  fc.record({ type: fc.constant(0 as const), gasPrice: wei }),
  fc.tuple(wei, wei).map(([base, tip]): Fee => ({ type: 2, maxFeePerGas: 2n * base + tip, maxPriorityFeePerGas: tip })),
);
const offer = (of: Fee) => ({ feePerGas: feePerGas(of), tipPerGas: tipPerGas(of) });

test("a raised fee satisfies every pool and the chain's present price, and is valid", () => {
  fc.assert(
    fc.property(fee, fee, (now, before) => {
      const raised = raiseFee(now, offer(before));
      expect(raised.type).toBe(now.type);
      expect(feePerGas(raised) * 10n).toBeGreaterThanOrEqual(feePerGas(before) * 11n);
      expect(feePerGas(raised)).toBeGreaterThan(feePerGas(before));
      expect(feePerGas(raised)).toBeGreaterThanOrEqual(feePerGas(now));
      expect(tipPerGas(raised)).toBeGreaterThanOrEqual(tipPerGas(now));
      expect(tipPerGas(raised)).toBeLessThanOrEqual(feePerGas(raised));
      if (now.type === before.type) expect(tipPerGas(raised) * 10n).toBeGreaterThanOrEqual(tipPerGas(before) * 11n);
    }),
  );
});

test("the same fee repeats the offer", () => {
  fc.assert(
    fc.property(fee, (before) => {
      expect(sameFee(before, offer(before))).toEqual(before);
    }),
  );
});

test("a capped fee is valid and below the cap; a lower fee stays as it is", () => {
  fc.assert(
    fc.property(fee, wei, (before, most) => {
      const capped = capFee(before, most);
      expect(feePerGas(capped)).toBeLessThanOrEqual(most);
      expect(tipPerGas(capped)).toBeLessThanOrEqual(feePerGas(capped));
      if (feePerGas(before) <= most) expect(capped).toEqual(before);
      expect(leastFeePerGas(before)).toBeLessThanOrEqual(feePerGas(before));
    }),
  );
});
