import { type ReceiptLeaf, receiptTree } from "@proof-of-compute/proto";
import { getAddress, keccak256, toBeHex } from "ethers";
import { ContractFixture } from "./contract.ts";

/** Gas of one call. */
export interface GasFigure {
  readonly call: string;
  readonly gas: number;
  /** Credits in the call, if it has any. */
  readonly providers?: number;
}

const ROOT = `0x${"11".repeat(32)}`;
const BATCHES = [1, 10, 100, 500];
/** Receipts in the batch that a receipt is verified against: a proof of 16 hashes. */
const TREE_SIZE = 50_000;

/**
 * Measures the calls on the page. Addresses, units and roots are derived, never random, so the result is always the same.
 */
export async function measureGas(): Promise<GasFigure[]> {
  const it = await ContractFixture.deploy();
  try {
    const figures: GasFigure[] = [{ call: "deploy", gas: Number(it.deployment.gasUsed) }];
    const add = (call: string, gas: bigint, providers?: number) =>
      void figures.push({ call, gas: Number(gas), ...(providers !== undefined && { providers }) });
    const { address } = it.other;
    add("recordCompute, first for a provider", (await it.send(it.owner, "recordCompute", address)).gasUsed);
    add("recordCompute, again", (await it.send(it.owner, "recordCompute", address)).gasUsed);
    let id = 0;
    for (const size of BATCHES) {
      const credits = Array.from({ length: size }, (_, index) => [wallet(size * 1_000 + index), 4_096n]);
      const record = async () => (await it.send(it.recorder, "recordBatch", ++id, ROOT, credits)).gasUsed;
      add("recordBatch, first for every provider", await record(), size);
      add("recordBatch, again", await record(), size);
    }
    const { tree, receipt } = bigTree();
    await it.send(it.recorder, "recordBatch", ++id, tree.root, [[address, 1n]]);
    const data = it.interface.encodeFunctionData("verifyReceipt", [id, receipt, tree.proof(0)]);
    add("verifyReceipt in a batch of 50,000", await it.other.estimateGas({ to: it.address, data }));
    return figures;
  } finally {
    await it.end();
  }
}

/** The page docs/reference/gas.md. */
export function gasPage(figures: readonly GasFigure[]): string {
  const rows = figures.map(({ call, gas, providers }) => {
    const name = providers === undefined ? call : `${call}: ${providers}`;
    const each = providers === undefined ? "" : Math.round(gas / providers).toLocaleString("en-US");
    return `| ${name} | ${gas.toLocaleString("en-US")} | ${each} |`;
  });
  return `# Gas

What calls of \`ProofOfCompute\` cost on the simulated chain (solc 0.8.37, optimizer on, evmVersion cancun).
\`node scripts/gas.ts\` writes this page; a test fails when a figure is off by more than 2 %. Reading is free: the figure of
\`verifyReceipt\` matters to contracts that call it.

| call | gas | per provider |
| --- | ---: | ---: |
${rows.join("\n")}

XDC's mainnet charges 68 gas for a non-zero byte of call data where the simulated chain charges 16: add about 1,250 gas a
provider there. At its base fee of 12.5 gwei a batch of 500 known providers costs some 0.06 XDC.
`;
}

/** The figures of such a page, by the first column. */
export function readGasPage(page: string): Map<string, number> {
  const rows = page.matchAll(/^\| ([^|]+?) \| ([\d,]+) \|/gm);
  return new Map([...rows].map(([, call, gas]) => [call!, Number(gas!.replaceAll(",", ""))]));
}

function wallet(index: number): string {
  return getAddress(keccak256(toBeHex(index, 32)).slice(0, 42));
}

function bigTree(): { tree: ReturnType<typeof receiptTree>; receipt: ReceiptLeaf } {
  const receipts = Array.from({ length: TREE_SIZE }, (_, index): ReceiptLeaf => {
    const digest = keccak256(toBeHex(index, 32)) as ReceiptLeaf["nodeId"];
    return {
      receiptId: digest.slice(0, 34) as ReceiptLeaf["receiptId"],
      taskId: digest.slice(0, 34) as ReceiptLeaf["taskId"],
      nodeId: digest,
      provider: wallet(index) as ReceiptLeaf["provider"],
      requester: wallet(index) as ReceiptLeaf["requester"],
      kind: 1,
      assurance: 1,
      specDigest: digest,
      resultDigest: digest,
      units: 4_096n,
      acceptedAt: 1_795_305_600_000,
    };
  });
  return { tree: receiptTree(receipts), receipt: receipts[0]! };
}
