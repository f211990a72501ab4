import {
  type Address,
  equal,
  fromHex,
  type Hex,
  matmulSeed,
  receiptLeaf,
  sha256,
  verifyReceiptProof,
} from "@proof-of-compute/proto";
import { ApiError, api, type Config, call, type ReceiptEvidence, type Task } from "#lib/api/client.ts";
import { checkProductInWorker } from "./product.ts";

/** `unknown`: it could not be checked, which says nothing about whether it holds. */
export type Outcome = "holds" | "fails" | "unknown";

/** One thing that was checked again, here. */
export interface Finding {
  readonly title: string;
  readonly outcome: Outcome;
  readonly detail: string;
}

/** The numbers that stand in the leaf. */
const KIND = { matmul: 1, wasm: 2, inference: 3 } as const;
const ASSURANCE = { proven: 1, replicated: 2, attested: 3 } as const;

/**
 * Checks a verified task again by the public rules, believing nobody: what the coordinator serves is only taken where it
 * fits what the chain holds. Yields each finding as soon as it is known.
 */
export async function* checkTask(task: Task, config: Config): AsyncGenerator<Finding> {
  const evidence = await call(api.GET("/api/receipts/{id}", { params: { path: { id: task.receiptId ?? "" } } }));
  const { receipt } = evidence;
  yield await attempt("The product is right", () => checkResult(task, receipt));
  yield await attempt("The receipt is in its batch", async () => checkInclusion(evidence));
  yield await attempt("The chain holds the batch", () => checkChain(evidence, config));
}

type Verdict = Omit<Finding, "title">;

async function attempt(title: string, check: () => Promise<Verdict>): Promise<Finding> {
  try {
    return { title, ...(await check()) };
  } catch (error) {
    return { title, outcome: "unknown", detail: error instanceof Error ? error.message : String(error) };
  }
}

async function checkResult({ n, k }: Task, receipt: ReceiptEvidence["receipt"]): Promise<Verdict> {
  const answer = await fetch(`/api/tasks/${receipt.taskId}/result`);
  if (!answer.ok) throw new ApiError("NO_RESULT", answer.status, "The result is kept no longer.");
  const output = new Uint8Array(await answer.arrayBuffer());
  const outputDigest = fromHex(receipt.resultDigest);
  if (!equal(sha256(output), outputDigest)) {
    return { outcome: "fails", detail: "The result has another digest than the receipt." };
  }
  const seed = matmulSeed({
    assignmentId: fromHex(receipt.receiptId),
    taskId: fromHex(receipt.taskId),
    nodeId: fromHex(receipt.nodeId),
    specDigest: fromHex(receipt.specDigest),
  });
  const right = await checkProductInWorker({ task: { seed, n, k }, output, outputDigest });
  return right
    ? { outcome: "holds", detail: "Freivalds’ check of the whole product passed in this browser." }
    : { outcome: "fails", detail: "The result is not the product of its matrices." };
}

function checkInclusion({ receipt, leaf, proof, batch }: ReceiptEvidence): Verdict {
  if (!proof || !batch) return { outcome: "unknown", detail: "No batch carries it yet." };
  const own = receiptLeaf({
    receiptId: receipt.receiptId as Hex,
    taskId: receipt.taskId as Hex,
    nodeId: receipt.nodeId as Hex,
    provider: receipt.provider as Address,
    requester: receipt.requester as Address,
    kind: KIND[receipt.kind],
    assurance: ASSURANCE[receipt.assurance],
    specDigest: receipt.specDigest as Hex,
    resultDigest: receipt.resultDigest as Hex,
    units: BigInt(receipt.units),
    acceptedAt: receipt.acceptedAt,
  });
  return own === leaf && verifyReceiptProof(batch.root as Hex, own, proof as Hex[])
    ? { outcome: "holds", detail: `Its leaf leads to the root of batch ${batch.id}.` }
    : { outcome: "fails", detail: `Its leaf does not lead to the root of batch ${batch.id}.` };
}

async function checkChain({ batch }: ReceiptEvidence, config: Config): Promise<Verdict> {
  const { rpcUrl, chainId, contractAddress } = config;
  if (!batch) return { outcome: "unknown", detail: "No batch carries the receipt yet." };
  if (rpcUrl === null || chainId === null || contractAddress === null) {
    return { outcome: "unknown", detail: "No chain is configured here." };
  }
  const { contractReader } = await import("#lib/chain/contract.ts");
  const root = await contractReader({ rpcUrl, chainId, contractAddress }).rootOf(batch.id);
  if (root === null) return { outcome: "unknown", detail: `No final block holds batch ${batch.id} yet.` };
  return root === batch.root
    ? { outcome: "holds", detail: `The contract has the same root for batch ${batch.id}.` }
    : { outcome: "fails", detail: `The contract has another root for batch ${batch.id}.` };
}
