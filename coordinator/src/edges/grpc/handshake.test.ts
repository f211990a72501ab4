import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { concat, helloMessage } from "@proof-of-compute/proto";
import { HelloTerms } from "@proof-of-compute/proto/node";
import { TaskKind } from "@proof-of-compute/proto/task";
import { echo } from "@proof-of-compute/tests/support/echo/coordinator";
import { expect, test } from "vitest";
import { KINDS } from "../../kinds/index.ts";
import { checkHello, type HandshakeInit } from "./handshake.ts";

const audience = "coordinator.example:50051";
const nonce = randomBytes(32);
const terms = Buffer.from(
  HelloTerms.encode({
    ...HelloTerms.decode(new Uint8Array()),
    wallet: Buffer.alloc(20, 7),
    kinds: [TaskKind.TASK_KIND_ECHO],
    slots: 1,
  }).finish(),
);
const init: HandshakeInit = {
  audiences: new Set([audience]),
  kinds: KINDS.with(echo),
  contract: undefined,
  requireAuthorization: false,
  nowSeconds: () => 1_795_305_600,
};

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const nodeId = Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url");
const signature = sign(null, helloMessage({ nonce, audience, nodeId, terms }), privateKey);

const check = (change: { nodeId?: Buffer; signature?: Buffer }) =>
  checkHello({ nodeId, audience, terms, signature, ...change }, nonce, init);

test("accepts a Hello that the node's key signed", async () => {
  expect((await check({})).offer.slots).toBe(1);
});

test("refuses a key of small order, under which signatures hold that nobody made", async () => {
  // With the neutral element as key, R = it and S = 0 make a signature of everything.
  const neutral = Buffer.from(`01${"00".repeat(31)}`, "hex");
  await expect(check({ nodeId: neutral, signature: Buffer.concat([neutral, Buffer.alloc(32)]) })).rejects.toMatchObject(
    {
      code: "BAD_SIGNATURE",
    },
  );
});

test("refuses a key in a non-canonical encoding", async () => {
  await expect(check({ nodeId: Buffer.alloc(32, 0xff) })).rejects.toMatchObject({ code: "BAD_SIGNATURE" });
});

test("accepts a signature in one form only", async () => {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).reverse().toString("hex")}`) + order;
  const malleated = Buffer.from(s.toString(16).padStart(64, "0"), "hex").reverse();
  await expect(check({ signature: Buffer.from(concat(signature.subarray(0, 32), malleated)) })).rejects.toMatchObject({
    code: "BAD_SIGNATURE",
  });
});
