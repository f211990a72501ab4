import { readFileSync } from "node:fs";
import {
  type Address,
  PROOF_OF_COMPUTE_ABI,
  type ReceiptLeaf,
  receiptLeaf,
  receiptTree,
} from "@proof-of-compute/proto";
import { Interface, ZeroAddress } from "ethers";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ContractFixture } from "../support/contract.ts";
import { someWallet } from "../support/settling.ts";

const ROOT = `0x${"11".repeat(32)}`;
const ZERO_ROOT = `0x${"00".repeat(32)}`;
const alice = someWallet();
const bob = someWallet();

const vectors = JSON.parse(readFileSync(new URL("../vectors/receipts.json", import.meta.url), "utf8")) as {
  receipts: (Omit<ReceiptLeaf, "units"> & { units: number; leaf: string })[];
  roots: Record<string, string>;
};

let it: ContractFixture;
let restore: () => Promise<void>;

beforeAll(async () => {
  it = await ContractFixture.deploy();
});
afterAll(async () => {
  await it.end();
});
beforeEach(async () => {
  restore = await it.snapshot();
});
afterEach(async () => {
  await restore();
});

test("the ABI in the protocol package is the compiler's", () => {
  const format = (abi: Interface) => abi.format().toSorted();
  expect(format(new Interface(PROOF_OF_COMPUTE_ABI))).toEqual(format(it.interface));
});

describe("deployment", () => {
  test("sets owner and recorder, and expects batch 1", async () => {
    expect(it.events(it.deployment)).toEqual([
      ["OwnershipTransferred", ZeroAddress, it.owner.address],
      ["RecorderChanged", ZeroAddress, it.recorder.address],
    ]);
    expect(await it.read("owner")).toBe(it.owner.address);
    expect(await it.read("recorder")).toBe(it.recorder.address);
    expect(await it.read("nextBatchId")).toBe(1n);
    expect(await it.read("paused")).toBe(false);
    expect(await it.read("computeUnits", alice)).toBe(0n);
    expect(await it.read("rootOf", 1)).toBe(ZERO_ROOT);
  });
});

describe("recordCompute", () => {
  test("adds one unit by hand, without a batch", async () => {
    const first = await it.send(it.owner, "recordCompute", alice);
    expect(it.events(first)).toEqual([["ComputeRecorded", alice, 1n]]);
    const second = await it.send(it.owner, "recordCompute", alice);
    expect(it.events(second)).toEqual([["ComputeRecorded", alice, 2n]]);
    expect(await it.read("computeUnits", alice)).toBe(2n);
    expect(await it.read("nextBatchId")).toBe(1n);
  });

  test("refuses everybody but the owner, also the recorder", async () => {
    for (const signer of [it.recorder, it.other]) {
      const call = it.send(signer, "recordCompute", alice);
      await it.expectRefusal(call, "OwnableUnauthorizedAccount", signer.address);
    }
  });

  test("refuses the zero address", async () => {
    await it.expectRefusal(it.send(it.owner, "recordCompute", ZeroAddress), "ZeroProvider", 0n);
  });
});

describe("recordBatch", () => {
  const record = (id: number, root: string, credits: [string, bigint][]) =>
    it.send(it.recorder, "recordBatch", id, root, credits);

  test("credits every provider, and emits an event for each, then one for the batch", async () => {
    const receipt = await record(1, ROOT, [
      [alice, 5n],
      [bob, 7n],
      [alice, 1n],
    ]);
    expect(it.events(receipt)).toEqual([
      ["ComputeRecorded", alice, 5n],
      ["ComputeRecorded", bob, 7n],
      ["ComputeRecorded", alice, 6n],
      ["BatchRecorded", 1n, ROOT, 3n, 13n],
    ]);
    expect(await it.read("computeUnits", alice)).toBe(6n);
    expect(await it.read("computeUnits", bob)).toBe(7n);
    expect(await it.read("rootOf", 1)).toBe(ROOT);
    expect(await it.read("nextBatchId")).toBe(2n);
  });

  test("adds to earlier credits, up to the largest credit", async () => {
    const most = 2n ** 96n - 1n;
    await it.send(it.owner, "recordCompute", alice);
    await record(1, ROOT, [[alice, most]]);
    const receipt = await record(2, ROOT, [[alice, most]]);
    expect(it.events(receipt)).toEqual([
      ["ComputeRecorded", alice, 2n * most + 1n],
      ["BatchRecorded", 2n, ROOT, 1n, most],
    ]);
  });

  test("refuses any id but the next, before and after", async () => {
    await it.expectRefusal(record(0, ROOT, [[alice, 1n]]), "BatchOutOfOrder", 1n, 0n);
    await it.expectRefusal(record(2, ROOT, [[alice, 1n]]), "BatchOutOfOrder", 1n, 2n);
    await record(1, ROOT, [[alice, 1n]]);
    await it.expectRefusal(record(1, ROOT, [[alice, 1n]]), "BatchOutOfOrder", 2n, 1n);
    expect(await it.read("computeUnits", alice)).toBe(1n);
  });

  test("refuses a zero root, no credits, a zero provider and zero units", async () => {
    await it.expectRefusal(record(1, ZERO_ROOT, [[alice, 1n]]), "ZeroRoot", 1n);
    await it.expectRefusal(record(1, ROOT, []), "EmptyBatch", 1n);
    const nobody: [string, bigint] = [ZeroAddress, 1n];
    await it.expectRefusal(record(1, ROOT, [[alice, 1n], nobody]), "ZeroProvider", 1n);
    const nothing: [string, bigint] = [bob, 0n];
    await it.expectRefusal(record(1, ROOT, [[alice, 1n], nothing]), "ZeroUnits", 1n, bob);
    expect(await it.read("computeUnits", alice)).toBe(0n);
    expect(await it.read("nextBatchId")).toBe(1n);
    expect(await it.read("rootOf", 1)).toBe(ZERO_ROOT);
  });

  test("refuses everybody but the recorder, also the owner", async () => {
    for (const signer of [it.owner, it.other]) {
      const call = it.send(signer, "recordBatch", 1, ROOT, [[alice, 1n]]);
      await it.expectRefusal(call, "NotRecorder", signer.address);
    }
  });
});

describe("the recorder's role", () => {
  test("the owner gives it to another wallet", async () => {
    const receipt = await it.send(it.owner, "setRecorder", it.other.address);
    expect(it.events(receipt)).toEqual([["RecorderChanged", it.recorder.address, it.other.address]]);
    expect(await it.read("recorder")).toBe(it.other.address);
    await it.expectRefusal(
      it.send(it.recorder, "recordBatch", 1, ROOT, [[alice, 1n]]),
      "NotRecorder",
      it.recorder.address,
    );
    await it.send(it.other, "recordBatch", 1, ROOT, [[alice, 1n]]);
    expect(await it.read("computeUnits", alice)).toBe(1n);
  });

  test("the owner may give it to nobody", async () => {
    await it.send(it.owner, "setRecorder", ZeroAddress);
    await it.expectRefusal(
      it.send(it.recorder, "recordBatch", 1, ROOT, [[alice, 1n]]),
      "NotRecorder",
      it.recorder.address,
    );
  });

  test("nobody else may give it", async () => {
    for (const signer of [it.recorder, it.other]) {
      const call = it.send(signer, "setRecorder", signer.address);
      await it.expectRefusal(call, "OwnableUnauthorizedAccount", signer.address);
    }
  });
});

describe("pausing", () => {
  test("stops batches, but not credits by hand, until the owner unpauses", async () => {
    const paused = await it.send(it.owner, "pause");
    expect(it.events(paused)).toEqual([["Paused", it.owner.address]]);
    expect(await it.read("paused")).toBe(true);
    await it.expectRefusal(it.send(it.recorder, "recordBatch", 1, ROOT, [[alice, 1n]]), "EnforcedPause");
    await it.expectRefusal(it.send(it.owner, "pause"), "EnforcedPause");
    await it.send(it.owner, "recordCompute", alice);
    const unpaused = await it.send(it.owner, "unpause");
    expect(it.events(unpaused)).toEqual([["Unpaused", it.owner.address]]);
    await it.expectRefusal(it.send(it.owner, "unpause"), "ExpectedPause");
    await it.send(it.recorder, "recordBatch", 1, ROOT, [[alice, 1n]]);
    expect(await it.read("computeUnits", alice)).toBe(2n);
  });

  test("refuses everybody but the owner", async () => {
    for (const name of ["pause", "unpause"]) {
      const call = it.send(it.recorder, name);
      await it.expectRefusal(call, "OwnableUnauthorizedAccount", it.recorder.address);
    }
  });
});

describe("ownership", () => {
  test("is transferred in two steps", async () => {
    const started = await it.send(it.owner, "transferOwnership", it.other.address);
    expect(it.events(started)).toEqual([["OwnershipTransferStarted", it.owner.address, it.other.address]]);
    expect(await it.read("owner")).toBe(it.owner.address);
    expect(await it.read("pendingOwner")).toBe(it.other.address);
    await it.expectRefusal(it.send(it.recorder, "acceptOwnership"), "OwnableUnauthorizedAccount", it.recorder.address);
    const accepted = await it.send(it.other, "acceptOwnership");
    expect(it.events(accepted)).toEqual([["OwnershipTransferred", it.owner.address, it.other.address]]);
    await it.expectRefusal(
      it.send(it.owner, "setRecorder", it.owner.address),
      "OwnableUnauthorizedAccount",
      it.owner.address,
    );
    await it.send(it.other, "setRecorder", it.other.address);
  });

  test("can be renounced", async () => {
    const receipt = await it.send(it.owner, "renounceOwnership");
    expect(it.events(receipt)).toEqual([["OwnershipTransferred", it.owner.address, ZeroAddress]]);
    await it.send(it.recorder, "recordBatch", 1, ROOT, [[alice, 1n]]);
    expect(await it.read("computeUnits", alice)).toBe(1n);
  });
});

describe("verifyReceipt", () => {
  const receipts: ReceiptLeaf[] = vectors.receipts.map(({ leaf: _, ...receipt }) => ({
    ...receipt,
    units: BigInt(receipt.units),
  }));

  test("accepts every receipt of the independent vectors, alone and in a batch", async () => {
    let id = 0;
    for (const [count, root] of Object.entries(vectors.roots)) {
      const batch = receipts.slice(0, Number(count));
      const tree = receiptTree(batch);
      expect(tree.root).toBe(root);
      await it.send(it.recorder, "recordBatch", ++id, root, [[alice, 1n]]);
      for (const [index, receipt] of batch.entries()) {
        expect(await it.read("verifyReceipt", id, receipt, tree.proof(index))).toBe(true);
      }
    }
    expect(id).toBeGreaterThan(3);
  });

  test("refuses a receipt with a changed field, another batch, or another proof", async () => {
    const tree = receiptTree(receipts);
    await it.send(it.recorder, "recordBatch", 1, tree.root, [[alice, 1n]]);
    await it.send(it.recorder, "recordBatch", 2, ROOT, [[alice, 1n]]);
    const [receipt] = receipts as [ReceiptLeaf];
    const proof = tree.proof(0);
    const changes: Record<keyof ReceiptLeaf, unknown> = {
      receiptId: receipt.taskId,
      taskId: receipt.receiptId,
      nodeId: receipt.specDigest,
      provider: receipt.requester,
      requester: receipt.provider as Address,
      kind: receipt.kind + 1,
      assurance: receipt.assurance + 1,
      specDigest: receipt.resultDigest,
      resultDigest: receipt.specDigest,
      units: receipt.units + 1n,
      acceptedAt: receipt.acceptedAt + 1,
    };
    for (const [field, value] of Object.entries(changes)) {
      expect(await it.read("verifyReceipt", 1, { ...receipt, [field]: value }, proof), field).toBe(false);
    }
    expect(await it.read("verifyReceipt", 2, receipt, proof)).toBe(false);
    expect(await it.read("verifyReceipt", 1, receipt, tree.proof(1))).toBe(false);
    expect(await it.read("verifyReceipt", 1, receipt, proof.slice(1))).toBe(false);
    expect(await it.read("verifyReceipt", 1, receipt, [...proof, receiptLeaf(receipt)])).toBe(false);
  });

  test("refuses a batch that is not recorded", async () => {
    const [receipt] = receipts;
    await it.expectRefusal(it.read("verifyReceipt", 1, receipt, []), "UnknownBatch", 1n);
    await it.expectRefusal(it.read("verifyReceipt", 0, receipt, []), "UnknownBatch", 0n);
  });
});
