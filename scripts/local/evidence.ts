import { randomUUID } from "node:crypto";
import { systemClock } from "@proof-of-compute/coordinator/adapters/system-clock";
import type { TaskView } from "@proof-of-compute/coordinator/edges/rest/schemas";
import type { Hex } from "@proof-of-compute/proto";
import { readReceipt, verdictOf, verifyReceipt } from "@proof-of-compute/proto/verify";
import { readChainFacts } from "@proof-of-compute/proto/verify-chain";
import { JsonRpcProvider } from "ethers";
import { LocalError } from "./children.ts";
import type { ChainFacts, LocalNetwork, Say } from "./network.ts";
import { Requester } from "./requester.ts";
import { untilRestored } from "./restored.ts";

/** What the showcase asks for: about a second of work for one core. */
const SHOWCASE = { n: 1024, k: 5 };

const number = new Intl.NumberFormat("en");

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}

/**
 * After a restart of the local chain: waits until the batches of earlier runs are on the new chain again, and says how
 * many units came back. Does nothing when there were none.
 */
export async function showRestored(
  { chain, network, say }: { chain: ChainFacts; network: LocalNetwork; say: Say },
  signal: AbortSignal,
): Promise<void> {
  const requester = new Requester(network.origin);
  const last = await requester.lastBatch(signal);
  if (last === undefined) return;
  const look = async () => ({
    back: Number(await chain.contract.getFunction("nextBatchId")()) - 1,
    recordedUnits: await requester.recordedUnits(signal),
  });
  await untilRestored({ look, clock: systemClock, say }, last.id, signal);
  const units: bigint = await chain.contract.getFunction("computeUnits")(network.provider.address);
  say(
    "restored",
    `${number.format(units)} units of ${network.provider.address}, in ${number.format(last.id)} ${last.id === 1 ? "batch" : "batches"}`,
    "of earlier runs, are on the chain",
  );
}

/** Asks for one task as a user would, over REST, and shows the evidence of each step as it happens. */
export async function showTask(
  { chain, network, say }: { chain: ChainFacts; network: LocalNetwork; say: Say },
  signal: AbortSignal,
): Promise<void> {
  const { n, k } = SHOWCASE;
  const user = new Requester(network.origin);
  await user.signIn(network.requester, signal);
  const started = performance.now();
  const dispatched = await user.dispatch(SHOWCASE, randomUUID(), signal);
  say(
    "task",
    dispatched.id,
    `product of ${k} matrices of ${n} x ${n} over F_251, worth ${number.format(BigInt(dispatched.units))} units,`,
    `asked for by ${network.requester.address}`,
  );
  const told = new Set<string>();
  for await (const task of user.follow(dispatched.id, signal)) {
    const once = (what: string, show: () => void) => {
      if (told.has(what)) return;
      told.add(what);
      show();
    };
    const assignment = task.assignments.at(-1);
    if (assignment) {
      once(assignment.id, () => say("assignment", assignment.id, `to node ${assignment.nodeId}`));
    } else if (task.waitingReason) {
      once(task.waitingReason, () => say("waits", task.waitingReason!));
    }
    if (task.receiptId) {
      const receiptId = task.receiptId;
      once("verified", () => say("verified", ...verdict(task, receiptId, seconds(started))));
    }
    if (task.batch) {
      const { id } = task.batch;
      once("batched", () => say("batch", String(id)));
    }
    if (task.state === "failed" || task.state === "cancelled") {
      throw new LocalError(`the task ${task.state}: ${task.error?.detail ?? "no reason given"}`);
    }
    if (task.state === "recorded") await showRecorded({ chain, network, say, user }, task, seconds(started), signal);
  }
}

function verdict(task: TaskView, receiptId: Hex, time: string): string[] {
  const bound = task.check ? `, error at most ${task.check.errorBound}` : "";
  return [`after ${time}: Freivalds' check of the whole product${bound}`, `receipt ${receiptId}`];
}

async function showRecorded(
  { chain, network, say, user }: { chain: ChainFacts; network: LocalNetwork; say: Say; user: Requester },
  task: TaskView,
  time: string,
  signal: AbortSignal,
): Promise<void> {
  const text = await user.receipt(task.receiptId!, signal);
  const { root, recorded } = readReceipt(text).batch!;
  say("recorded", `after ${time}: root ${root}`, `in block ${recorded?.block}, tx ${recorded?.transaction}`);

  // What anybody can do who believes nobody: every link of the receipt, from its bytes to the chain and the product.
  const rpc = new JsonRpcProvider(chain.rpcUrl, undefined, { staticNetwork: true, cacheTimeout: -1 });
  const links = await Array.fromAsync(
    verifyReceipt(text, {
      chain: (where, batch) => readChainFacts(rpc, where, batch),
      result: () => user.result(task.id, signal),
    }),
  ).finally(() => rpc.destroy());
  if (verdictOf(links) !== "verified") {
    const open = links.filter(({ status }) => status !== "ok").map(({ name, detail }) => `${name}: ${detail}`);
    throw new LocalError(`the receipt does not stand up to an independent check (${open.join("; ")})`);
  }
  say(
    "re-checked",
    `all ${links.length} links of the receipt, the product from public facts and the root on the chain`,
  );

  const units: bigint = await chain.contract.getFunction("computeUnits")(network.provider.address);
  say("computeUnits", `${number.format(units)}, read from the contract for ${network.provider.address}`);
}
