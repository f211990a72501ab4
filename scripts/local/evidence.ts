import { randomUUID } from "node:crypto";
import { systemClock } from "@proof-of-compute/coordinator/clock";
import { type CoordinatorKind, KINDS } from "@proof-of-compute/coordinator/kinds";
import type { ConfigView, DispatchRequest, TaskView } from "@proof-of-compute/coordinator/rest";
import type { Hex } from "@proof-of-compute/proto";
import { readReceipt, verdictOf, verifyReceipt } from "@proof-of-compute/proto/verify";
import { readChainFacts } from "@proof-of-compute/proto/verify-chain";
import { JsonRpcProvider } from "ethers";
import type { ChainFacts } from "./chain.ts";
import type { LocalNetwork } from "./local-network.ts";
import { Requester } from "./requester.ts";
import { untilRestored } from "./restored.ts";
import { LocalError, type Say } from "./terminal.ts";

const number = new Intl.NumberFormat("en");

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}

/**
 * After a restart of the local chain, waits until the new chain has the batches of earlier runs, and prints the restored
 * units. Does nothing if there are no batches.
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

/** Requests a task over REST, as a user does, and shows the evidence of each step as it happens. */
export async function showTask(
  { chain, network, say }: { chain: ChainFacts; network: LocalNetwork; say: Say },
  signal: AbortSignal,
): Promise<void> {
  const user = new Requester(network.origin);
  await user.signIn(network.requester, signal);
  const { kind, parameters, request } = showcase(await user.config(signal));
  const started = performance.now();
  const dispatched = await user.dispatch(request, randomUUID(), signal);
  const worth = dispatched.units ?? dispatched.maxUnits;
  say(
    "task",
    dispatched.id,
    `${kind.protocol.title(kind.toSpec(parameters))}, worth ${number.format(BigInt(worth!))} units,`,
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
      once("verified", () => say("verified", ...verdict(kind, receiptId, seconds(started))));
    }
    if (task.batch) {
      const { id } = task.batch;
      once("batched", () => say("batch", String(id)));
    }
    if (task.state === "failed" || task.state === "cancelled") {
      throw new LocalError(`the task ${task.state}: ${task.error?.detail ?? "no reason given"}`);
    }
    if (task.state === "recorded") {
      await showRecorded({ chain, network, say, user }, { kind, task, time: seconds(started) }, signal);
    }
  }
}

/** The default preset of the first kind: a task that takes a noticeable time. */
function showcase({ kinds: [first] }: ConfigView): {
  kind: CoordinatorKind;
  parameters: unknown;
  request: DispatchRequest;
} {
  const kind = first && KINDS.get(first.kind);
  const parameters = kind && first.presets.find((preset) => preset.default)?.[kind.name];
  if (!kind || parameters === undefined)
    throw new LocalError("the coordinator offers no kind of task that is known here");
  return { kind, parameters, request: { kind: kind.name, [kind.name]: parameters } };
}

function verdict({ protocol }: CoordinatorKind, receiptId: Hex, time: string): string[] {
  return [
    `after ${time}: the coordinator checked the result`,
    ...protocol.links.map(({ about }) => about),
    `receipt ${receiptId}`,
  ];
}

async function showRecorded(
  { chain, network, say, user }: { chain: ChainFacts; network: LocalNetwork; say: Say; user: Requester },
  { kind, task, time }: { kind: CoordinatorKind; task: TaskView; time: string },
  signal: AbortSignal,
): Promise<void> {
  const text = await user.receipt(task.receiptId!, signal);
  const { root, recorded } = readReceipt(text).batch!;
  say("recorded", `after ${time}: root ${root}`, `in block ${recorded?.block}, tx ${recorded?.transaction}`);

  // An independent check, which trusts nobody: every link of the receipt, from its bytes to the chain and the result.
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
  const own = new Set(kind.protocol.links.map(({ name }) => name));
  const found = links.filter(({ name }) => own.has(name)).map(({ detail }) => detail);
  say("re-checked", `all ${links.length} links of the receipt, from public facts to the root on the chain`, ...found);

  const units: bigint = await chain.contract.getFunction("computeUnits")(network.provider.address);
  say("computeUnits", `${number.format(units)}, read from the contract for ${network.provider.address}`);
}
