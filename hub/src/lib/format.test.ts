import { describe, expect, it } from "vitest";
import { ago, coins, elapsed, estimate, grouped, middle, percent, sentence, span } from "./format.ts";

describe("format", () => {
  it.each([
    [middle("0x0123456789abcdef0123456789abcdef"), "0x012345…abcdef"],
    [middle("0x1234"), "0x1234"],
    [grouped("20938752000000000001"), "20,938,752,000,000,000,001"],
    [grouped(0n), "0"],
    [span(0), "0\u00a0s"],
    [span(59_999), "59\u00a0s"],
    [span(60_000), "1\u00a0min"],
    [span(3 * 86_400_000), "3\u00a0d"],
    [ago(10_000, 11_000), "just now"],
    [ago(10_000, 9_000), "just now"],
    [ago(10_000, 75_000), "1\u00a0min ago"],
    [elapsed(420), "0.4\u00a0s"],
    [elapsed(-5), "0.0\u00a0s"],
    [elapsed(61_000), "1\u00a0min"],
    [estimate(999), "<\u00a01\u00a0s"],
    [estimate(3_400), "~3\u00a0s"],
    [estimate(150_000), "~2\u00a0min"],
    [percent(0.4235), "42%"],
    [sentence("no node is online"), "No node is online."],
    [sentence("the RPC failed: request timeout"), "The RPC failed: request timeout."],
    [sentence("3 nodes failed; the last said: OUT_OF_MEMORY"), "3 nodes failed; the last said: OUT_OF_MEMORY."],
    [sentence("body.kind is missing"), "body.kind is missing."],
    [sentence("proof-of-compute/receipt/v1"), "proof-of-compute/receipt/v1"],
    [sentence("Sign in with your wallet first."), "Sign in with your wallet first."],
    [coins("9999998712345678901234"), "9,999.9987"],
    [coins("1"), "0.0000"],
  ])("%s", (written, expected) => {
    expect(written).toBe(expected);
  });
});
