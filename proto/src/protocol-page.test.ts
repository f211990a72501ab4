import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { HelloTerms, KindOffer } from "@proof-of-compute/proto/node";
import { type EchoSpec, TaskSpec } from "@proof-of-compute/proto/task";
import { echo } from "@proof-of-compute/tests/support/echo/protocol";
import { bytes, vectors } from "@proof-of-compute/tests/support/vectors";
import { TypedDataEncoder, Wallet } from "ethers";
import { beforeAll, describe, expect, it } from "vitest";
import { keystream, sha256 } from "#crypto";
import { addressBytes, parseAddress } from "./address.ts";
import { nodeAuthorizationTypedData } from "./authorization.ts";
import { concat, toHex } from "./bytes.ts";
import { KINDS, readTaskSpec } from "./kinds/index.ts";
import { computeProduct } from "./kinds/matmul/kernel.ts";
import { FIELD, freivaldsKey, matmulSeed, matmulUnits, matrixKey } from "./kinds/matmul/matmul.ts";
import { auditPaths, merkleRoot } from "./merkle.ts";
import { receiptLeaf } from "./receipt.ts";
import { helloMessage, resultMessage, resultsMessage } from "./transcript.ts";

const page = readFileSync(new URL("../../docs/reference/protocol.md", import.meta.url), "utf8");

const signing = vectors("signing");
const pkcs8 = concat(bytes("302e020100300506032b657004220420"), bytes(signing.privateKeySeed));
const nodeKey = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
const ed25519 = (message: Uint8Array) => toHex(sign(null, message, nodeKey));
const node = bytes(createPublicKey(nodeKey).export({ format: "der", type: "spki" }).subarray(-32).toString("hex"));

/** Every value of the page's worked example, computed by the code of coordinator and daemon. */
async function example(): Promise<Map<string, string>> {
  const made = new Map<string, string>();
  const put = (name: string, value: Uint8Array | string) => {
    made.set(name, typeof value === "string" ? value : toHex(value));
  };

  put("private key", signing.privateKeySeed);
  put("node id", node);

  const { hello } = signing;
  const [nonce, terms] = [bytes(hello.nonce), bytes(hello.terms)];
  const message = helloMessage({ nonce, audience: hello.audience, nodeId: node, terms });
  put("nonce", nonce);
  put("audience", hello.audience);
  put("terms", terms);
  put("SHA-256(terms)", sha256(terms));
  put("hello message", message);
  put("hello signature", ed25519(message));

  const messages = signing.results.slice(0, 3).map(({ assignmentId, taskId, spec, output, wallet }, i) => {
    const [specDigest, outputDigest] = [sha256(bytes(spec)), sha256(bytes(output))];
    const one = { assignmentId: bytes(assignmentId), taskId: bytes(taskId), wallet: bytes(wallet) };
    if (i === 0) {
      put("assignment id 0", one.assignmentId);
      put("task id 0", one.taskId);
      put("spec 0", bytes(spec));
      put("output 0", bytes(output));
      put("wallet 0", one.wallet);
    }
    return resultMessage({ ...one, specDigest, outputDigest });
  });
  put("result message 0", messages[0]!);
  for (const [i, one] of messages.entries()) put(`leaf ${i}`, merkleRoot([one]));
  put("inner node 01", merkleRoot(messages.slice(0, 2)));
  put("root of 1", merkleRoot(messages.slice(0, 1)));
  put("signature of 1", ed25519(resultsMessage(merkleRoot(messages.slice(0, 1)))));
  put("root of 3", merkleRoot(messages));
  put("results message of 3", resultsMessage(merkleRoot(messages)));
  put("signature of 3", ed25519(resultsMessage(merkleRoot(messages))));
  for (const [i, path] of auditPaths(messages).entries()) put(`audit path of ${i}`, path.map(toHex).join(" "));

  const contract = parseAddress("0x71C7656EC7ab88b098defB751B7401B5f6d8976F");
  const wallet = new Wallet(toHex(new Uint8Array(32).fill(0x11)));
  const encode = (kind: TaskSpec["kind"]) =>
    TaskSpec.encode({
      chainId: 51n,
      contract: addressBytes(contract),
      requester: addressBytes(parseAddress(wallet.address)),
      deadlineUnixMs: 1_795_305_600_000n,
      kind,
    }).finish();
  const spec = encode({ $case: "matmul", value: { n: 64, k: 2 } });
  put("TaskSpec", spec);
  put("SHA-256(TaskSpec)", sha256(spec));

  const matmul = vectors("matmul")[0]!;
  const assignment = {
    assignmentId: bytes(matmul.assignmentId),
    taskId: bytes(matmul.taskId),
    nodeId: bytes(matmul.nodeId),
    specDigest: sha256(bytes(matmul.spec)),
  };
  const seed = matmulSeed(assignment);
  const output = computeProduct({ seed, n: matmul.n, k: matmul.k })!;
  const elements = (key: Uint8Array) => keystream(key, 16).map((byte) => byte % FIELD);
  put("assignment id", assignment.assignmentId);
  put("task id", assignment.taskId);
  put("computing node", assignment.nodeId);
  put("spec", bytes(matmul.spec));
  put("seed S", seed);
  put("key of A_1", matrixKey(seed, 1));
  put("A_1, first 16 elements", elements(matrixKey(seed, 1)));
  put("key of A_2", matrixKey(seed, 2));
  put("product, first 16 elements", output.subarray(0, 16));
  put("SHA-256(product)", sha256(output));
  put("key of R", freivaldsKey(seed, sha256(output)));
  put("R, first row", elements(freivaldsKey(seed, sha256(output))));
  put("units of the task", String(matmulUnits(matmul.n, matmul.k)));

  const input = new TextEncoder().encode("hello");
  const echoSpec = encode({ $case: "echo", value: { input } });
  const read = readTaskSpec(echoSpec, KINDS.with(echo));
  const work = { ...assignment, nodeId: node, specDigest: sha256(echoSpec), spec: (read as { spec: EchoSpec }).spec };
  const echoed = echo.recompute!(work)!;
  const echoMessage = resultMessage({
    ...work,
    outputDigest: sha256(echoed),
    wallet: bytes(signing.results[0]!.wallet),
  });
  put("echo spec", echoSpec);
  put("SHA-256(echo spec)", work.specDigest);
  put("echo output", echoed);
  put("SHA-256(echo output)", sha256(echoed));
  put("echo result message", echoMessage);
  put("root of the echo", merkleRoot([echoMessage]));
  put("signature of the echo", ed25519(resultsMessage(merkleRoot([echoMessage]))));
  put("units of the echo", String(echo.units(work.spec, echoed)));

  const data = { node: toHex(node), wallet: parseAddress(wallet.address), chainId: 51, contract } as const;
  const typed = nodeAuthorizationTypedData({ ...data, issuedAt: 1_795_305_600, expiresAt: 1_826_841_600 });
  put("wallet's key", wallet.privateKey);
  put("wallet's address", wallet.address);
  put("contract", contract);
  put("EIP-712 digest", TypedDataEncoder.hash(typed.domain, typed.types, typed.value));
  put("authorization signature", await wallet.signTypedData(typed.domain, typed.types, typed.value));

  const [receipt] = vectors("receipts").receipts;
  for (const [field, value] of Object.entries(receipt!)) if (field !== "leaf") put(field, String(value));
  put("receipt leaf", receiptLeaf({ ...receipt!, units: BigInt(receipt!.units) }));
  return made;
}

describe("docs/reference/protocol.md", () => {
  let made: Map<string, string>;
  beforeAll(async () => {
    made = await example();
  });

  it("has a worked example that equals what the code computes", () => {
    const section = page.slice(page.indexOf("## Worked example"));
    const blocks = section.split("```").filter((_, i) => i % 2 === 1);
    const given = [...blocks.join().matchAll(/^(.+?) += (.+)$/gm)].map((line) => [line[1], line[2]]);
    expect(given).toEqual([...made]);
  });

  it("lists only existing error codes", () => {
    const errors = readFileSync(new URL("../../docs/reference/errors.md", import.meta.url), "utf8");
    const table = page.slice(page.indexOf("## Errors"), page.indexOf("## FetchBlob"));
    const codes = [...table.matchAll(/^\| `[A-Z_]+` \| `([A-Z_]+)`/gm)].map((row) => row[1]);
    expect(codes.length).toBeGreaterThan(10);
    for (const code of codes) expect(errors).toContain(`\`${code}\` |`);
  });

  it("names every field of HelloTerms and KindOffer", () => {
    const terms = HelloTerms.decode(bytes(signing.hello.terms));
    expect(terms.version).toBe("1.0");
    const offer = KindOffer.decode(new Uint8Array());
    for (const field of [...Object.keys(terms), ...Object.keys(offer)]) {
      const name = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      expect(page, name).toContain(`\`${name}\``);
    }
  });
});
