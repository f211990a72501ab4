import { leafOf } from "@proof-of-compute/coordinator/domain/batch";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import type { Task } from "@proof-of-compute/coordinator/domain/task";
import {
  type Address,
  addressBytes,
  fromHex,
  type Hex,
  receiptTree,
  resultMessage,
  resultsMessage,
  rootFromPath,
  sha256,
  toHex,
  verifySignature,
} from "@proof-of-compute/proto";
import { matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import { TaskSpec } from "@proof-of-compute/proto/task";
import type { Rule } from "./checker.ts";

/** The promises about results, receipts, batches and units. */
export const LEDGER_RULES: Readonly<Record<string, Rule>> = {
  "a receipt belongs to the accepted assignment, and its node signed it": (_history, { tasks, receipts }, report) => {
    const stored = new Map(tasks.map((task) => [task.id, task]));
    const seen = new Set<Hex>();
    for (const receipt of receipts) {
      const { receiptId, taskId, nodeId, provider } = receipt;
      if (seen.has(receiptId)) report(`receipt ${receiptId} is stored twice`, taskId);
      seen.add(receiptId);
      const task = stored.get(taskId);
      const assignment = task?.assignments[receiptId];
      if (!task || !assignment) {
        report(`receipt ${receiptId} belongs to no assignment of its task`, taskId);
        continue;
      }
      if (assignment.state !== "accepted")
        report(`a receipt of assignment ${receiptId}, which is ${assignment.state}`, taskId);
      if (assignment.nodeId !== nodeId || assignment.wallet !== provider)
        report(`receipt ${receiptId} credits another node or wallet`, taskId);
      const { batchId: _, ...made } = receipt;
      if (assignment.receipt && !same(assignment.receipt, made))
        report(`receipt ${receiptId} differs from the one in its task`, taskId);
      if (receipt.specDigest !== toHex(sha256(task.spec))) report(`receipt ${receiptId} is of another spec`, taskId);
      if (!isSigned(receipt)) report(`receipt ${receiptId} is not signed by its node`, taskId);
    }
    for (const task of tasks) {
      for (const { id, state } of Object.values(task.assignments)) {
        if (state === "accepted" && !seen.has(id)) report(`the accepted assignment ${id} has no receipt`, task.id);
      }
    }
  },

  "every verified unit is credited once": (_history, { tasks, receipts, chain }, report) => {
    const byReceipts = sum(receipts.map(({ provider, units }) => [provider, units]));
    const byWork = sum(tasks.flatMap(workOf));
    for (const wallet of new Set([
      ...byReceipts.keys(),
      ...byWork.keys(),
      ...(Object.keys(chain.units) as Address[]),
    ])) {
      const [work, receipted, recorded] = [byWork.get(wallet), byReceipts.get(wallet), chain.units[wallet]];
      if ((work ?? 0n) !== (receipted ?? 0n) || (receipted ?? 0n) !== (recorded ?? 0n))
        report(
          `${wallet} did ${work ?? 0} units of work, has receipts for ${receipted ?? 0}, and ${recorded ?? 0} on the chain`,
        );
    }
  },

  "a receipt is in one recorded batch, whose root the chain holds": (_history, evidence, report) => {
    const { receipts, batches, chain } = evidence;
    const carried = new Map<Hex, number>();
    const stored = new Map(receipts.map((receipt) => [receipt.receiptId, receipt]));
    for (const { id, state, root, receiptIds, units, credits } of batches) {
      if (state !== "recorded") report(`batch ${id} is ${state}`);
      if (chain.roots[id] !== root) report(`batch ${id} has the root ${root}, the chain holds ${chain.roots[id]}`);
      for (const receiptId of receiptIds) {
        const before = carried.get(receiptId);
        if (before !== undefined) report(`receipt ${receiptId} is in batches ${before} and ${id}`);
        carried.set(receiptId, id);
      }
      const members = receiptIds.flatMap((receiptId) => stored.get(receiptId) ?? []);
      if (members.length < receiptIds.length) report(`batch ${id} carries receipts that are not stored`);
      else if (members.length > 0 && receiptTree(members.map(leafOf)).root !== root)
        report(`the receipts of batch ${id} make another root`);
      const owed = sum(members.map((receipt) => [receipt.provider, receipt.units]));
      const given = sum(credits.map((credit) => [credit.provider, credit.units]));
      if (!equalSums(owed, given) || units !== total(owed)) report(`batch ${id} credits other sums than its receipts`);
    }
    for (const { receiptId, taskId, batchId, quarantined } of receipts) {
      if (quarantined) report(`receipt ${receiptId} is in quarantine`, taskId);
      if (batchId === undefined || carried.get(receiptId) !== batchId)
        report(`receipt ${receiptId} names batch ${batchId} and is in ${carried.get(receiptId)}`, taskId);
    }
    if (chain.nextBatchId !== batches.length + 1)
      report(`the chain expects batch ${chain.nextBatchId}, the store has ${batches.length}`);
  },

  "the public verifier agrees": (_history, { broken }, report) => {
    for (const { batchId, detail } of broken) report(`batch ${batchId}: ${detail}`);
  },

  "every verdict that a node was told holds": (_history, { receipts, tasks, daemons }, report) => {
    const byId = new Map(receipts.map((receipt) => [receipt.receiptId, receipt]));
    const taskOf = new Map(tasks.flatMap(({ id, assignments }) => Object.keys(assignments).map((each) => [each, id])));
    for (const { name, wallet, acks, kept } of daemons) {
      for (const { assignmentId, verdict, reason, units } of acks) {
        const receipt = byId.get(assignmentId);
        const taskId = receipt?.taskId ?? taskOf.get(assignmentId);
        if (verdict === "ACCEPTED" && !receipt)
          report(`${name} was told that ${assignmentId} is accepted, but it has no receipt`, taskId);
        else if (verdict === "ACCEPTED" && (receipt!.provider !== wallet || String(receipt!.units) !== units))
          report(`${name} was told ${units} units for ${assignmentId}, its receipt says ${receipt!.units}`, taskId);
        else if (verdict !== "ACCEPTED" && receipt)
          report(`${name} was told that ${assignmentId} is ${verdict} (${reason}), but it has a receipt`, taskId);
      }
      if (kept.length > 0) report(`${name} still has results without a verdict: ${kept.join(", ")}`);
    }
  },

  "outputs are the requested products": (history, { receipts }, report) => {
    const digests = new Map(receipts.map(({ taskId, resultDigest }) => [taskId, resultDigest]));
    for (const entry of history) {
      if (entry.type !== "output") continue;
      if (!entry.valid) report("its output is not the product", entry.taskId);
      if (digests.get(entry.taskId) !== entry.digest) report("its output is not the receipted one", entry.taskId);
    }
  },

  "something happened": (history, { receipts, batches }, report) => {
    if (receipts.length === 0 || batches.length === 0) report("no work was recorded, so the run proves nothing");
    if (!history.some(({ type }) => type === "output")) report("no output was checked");
  },
};

/** Whether two receipts are equal, whatever the order of their fields. */
function same(a: object, b: object): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part === "bigint") return String(part);
    if (part === null || typeof part !== "object" || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)));
  });
}

function isSigned(receipt: Receipt): boolean {
  const { signature, index, size, path } = receipt.proof;
  const message = resultMessage({
    assignmentId: fromHex(receipt.receiptId),
    taskId: fromHex(receipt.taskId),
    specDigest: fromHex(receipt.specDigest),
    outputDigest: fromHex(receipt.resultDigest),
    wallet: addressBytes(receipt.provider),
  });
  try {
    const root = rootFromPath(message, index, size, path.map(fromHex));
    return verifySignature(fromHex(receipt.nodeId), resultsMessage(root), fromHex(signature));
  } catch {
    return false;
  }
}

/** The units of a task's accepted work, from its spec alone. */
function workOf({ spec, assignments }: Task): [Address, bigint][] {
  const kind = TaskSpec.decode(spec).kind;
  if (kind?.$case !== "matmul") return [];
  const units = matmulUnits(kind.value.n, kind.value.k);
  return Object.values(assignments)
    .filter(({ state }) => state === "accepted")
    .map(({ wallet }) => [wallet, units]);
}

function sum(parts: readonly (readonly [Address, bigint])[]): Map<Address, bigint> {
  const sums = new Map<Address, bigint>();
  for (const [wallet, units] of parts) sums.set(wallet, (sums.get(wallet) ?? 0n) + units);
  return sums;
}

function total(sums: ReadonlyMap<Address, bigint>): bigint {
  return sums.values().reduce((all, units) => all + units, 0n);
}

function equalSums(a: ReadonlyMap<Address, bigint>, b: ReadonlyMap<Address, bigint>): boolean {
  return a.size === b.size && [...a].every(([wallet, units]) => b.get(wallet) === units);
}
