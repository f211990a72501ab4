import { describe, expect, it } from "vitest";
import { about, ago, coins, elapsed, grouped, middle, span } from "./format.ts";

describe("format", () => {
  it.each([
    [middle("0x0123456789abcdef0123456789abcdef"), "0x012345…abcdef"],
    [middle("0x1234"), "0x1234"],
    [grouped("20938752000000000001"), "20,938,752,000,000,000,001"],
    [grouped(0n), "0"],
    [span(0), "0 s"],
    [span(59_999), "59 s"],
    [span(60_000), "1 min"],
    [span(3 * 86_400_000), "3 d"],
    [ago(10_000, 11_000), "just now"],
    [ago(10_000, 9_000), "just now"],
    [ago(10_000, 75_000), "1 min ago"],
    [elapsed(420), "0.4 s"],
    [elapsed(-5), "0.0 s"],
    [elapsed(61_000), "1 min"],
    [about(999), "under 1 s"],
    [about(3_400), "about 3 s"],
    [about(150_000), "about 2 min"],
    [coins("9999998712345678901234"), "9,999.9987"],
    [coins("1"), "0.0000"],
  ])("%s", (written, expected) => {
    expect(written).toBe(expected);
  });
});
