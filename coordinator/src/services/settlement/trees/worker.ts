import { type Hex, type ReceiptLeaf, receiptTree } from "@proof-of-compute/proto";

/** Some of a batch's receipts; the root comes back for the last ones, and undefined before. */
export interface TreePart {
  /** Tells the batches apart that are under way at once. */
  readonly job: number;
  readonly receipts: readonly ReceiptLeaf[];
  /** Set on the last part: how many there are in all. */
  readonly size?: number;
}

const collected = new Map<number, ReceiptLeaf[]>();

/** Collects the receipts of a batch, then makes their tree. Runs in the worker of ReceiptTrees. */
export default function addToTree({ job, receipts, size }: TreePart): Hex | undefined {
  const all = collected.get(job) ?? [];
  collected.set(job, all);
  for (const receipt of receipts) all.push(receipt);
  if (size === undefined) return undefined;
  collected.delete(job);
  // A worker that was replaced in between has lost the beginning.
  if (all.length !== size) throw new Error(`the tree worker has ${all.length} of ${size} receipts`);
  return receiptTree(all).root;
}
