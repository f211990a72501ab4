import { createHash, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OutputBuffer } from "./output-buffer.ts";

const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest();

describe("an output", () => {
  test("consists of the emitted chunks and the rest, however they are cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 50 })), fc.uint8Array(), async (chunks, rest) => {
        const whole = Buffer.concat([...chunks, rest]);
        const buffer = new OutputBuffer(whole.length);
        for (const chunk of chunks) buffer.append(chunk);
        const { output, outputDigest } = await buffer.end({ output: rest });
        expect(Buffer.from(output)).toEqual(whole);
        expect(Buffer.from(outputDigest)).toEqual(sha256(whole));
      }),
    );
  });

  test("does not change when an executor reuses its chunk", async () => {
    const buffer = new OutputBuffer(4);
    const chunk = Uint8Array.of(1, 2);
    buffer.append(chunk);
    chunk.fill(9);
    buffer.append(chunk);
    expect([...(await buffer.end({ output: new Uint8Array() })).output]).toEqual([1, 2, 9, 9]);
  });

  test.each([100, 3 * 1024 * 1024])("of %d bytes without emitted chunks is not copied", async (bytes) => {
    const output = randomBytes(bytes);
    const ended = await new OutputBuffer(bytes).end({ output });
    expect(ended.output).toBe(output);
    expect(Buffer.from(ended.outputDigest)).toEqual(sha256(output));
    const outputDigest = new Uint8Array(32);
    expect((await new OutputBuffer(bytes).end({ output, outputDigest })).outputDigest).toBe(outputDigest);
  });

  test("cannot outgrow its bound, neither by a chunk nor by the rest", async () => {
    const buffer = new OutputBuffer(3);
    buffer.append(Uint8Array.of(1, 2));
    expect(() => buffer.append(Uint8Array.of(3, 4))).toThrow(RangeError);
    await expect(buffer.end({ output: Uint8Array.of(3, 4) })).rejects.toThrow(/outgrows the 3 bytes/);
  });
});
