import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { bytes, vectors } from "@proof-of-compute/tests/support/vectors";
import { describe, expect, it } from "vitest";
import { sha256 } from "#crypto";
import { concat, toHex } from "./bytes.ts";
import { auditPaths, merkleRoot, rootFromPath } from "./merkle.ts";
import { helloMessage, resultMessage, resultsMessage } from "./transcript.ts";

const { privateKeySeed, nodeId, hello, results, frames } = vectors("signing");
const pkcs8 = concat(bytes("302e020100300506032b657004220420"), bytes(privateKeySeed));
const privateKey = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
const publicKey = createPublicKey(privateKey);

const messages: Uint8Array[] = results.map((result) =>
  resultMessage({
    assignmentId: bytes(result.assignmentId),
    taskId: bytes(result.taskId),
    specDigest: sha256(bytes(result.spec)),
    outputDigest: sha256(bytes(result.output)),
    wallet: bytes(result.wallet),
  }),
);

describe("transcript", () => {
  it("makes the hello message that was signed", () => {
    const { nonce, audience, terms, message, signature } = hello;
    const made = helloMessage({ nonce: bytes(nonce), audience, nodeId: bytes(nodeId), terms: bytes(terms) });
    expect(toHex(made)).toBe(message);
    expect(verify(null, made, publicKey, bytes(signature))).toBe(true);
    expect(toHex(sign(null, made, privateKey))).toBe(signature);
  });

  it("counts the audience in bytes and refuses one that its length cannot hold", () => {
    const parts = { nonce: new Uint8Array(32), nodeId: new Uint8Array(32), terms: new Uint8Array() };
    const made = helloMessage({ ...parts, audience: "knöten:1" });
    expect([...made.subarray(57, 59)]).toEqual([0, 9]);
    expect(() => helloMessage({ ...parts, audience: "x".repeat(0x10000) })).toThrow(RangeError);
  });

  it("makes the result messages and their leaves", () => {
    for (const [i, message] of messages.entries()) {
      expect(toHex(message)).toBe(results[i]!.message);
      expect(toHex(merkleRoot([message]))).toBe(results[i]!.leaf);
    }
  });

  it.each(Object.keys(frames))("makes the root that was signed for a frame of %s", (size) => {
    const { root, message, signature } = frames[size]!;
    const frame = messages.slice(0, Number(size));
    const made = merkleRoot(frame);
    expect(toHex(made)).toBe(root);
    expect(toHex(resultsMessage(made))).toBe(message);
    expect(verify(null, resultsMessage(made), publicKey, bytes(signature))).toBe(true);
    for (const [i, path] of auditPaths(frame).entries()) {
      expect(toHex(rootFromPath(frame[i]!, i, frame.length, path))).toBe(root);
    }
  });
});
