/**
 * Checks a receipt without trusting the coordinator: every link from the task's bytes over the node's signature to the root
 * that the contract holds, and the product itself. `npm run verify-receipt` does the same for a file.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { verdictOf, verifyReceipt } from "@proof-of-compute/proto/verify";
import { readChainFacts } from "@proof-of-compute/proto/verify-chain";
import { JsonRpcProvider } from "ethers";
import { Requester } from "./client.ts";

const requester = await Requester.signIn();
const { rpcUrl } = await requester.get<{ rpcUrl: string | null }>("/api/config");
if (rpcUrl === null) throw new Error("this coordinator has no chain to record on");

let task = await requester.dispatch({ kind: "matmul", matmul: { n: 256, k: 3 } }, crypto.randomUUID());
while (task.state !== "recorded") {
  if (task.error) throw new Error(`${task.state}: ${task.error.code}: ${task.error.detail}`);
  await sleep(500);
  task = await requester.task(task.id);
}

// Receipts are public: anybody can download this one, now and in years.
const receipt = await (await requester.request("GET", `/api/receipts/${task.receiptId}`)).text();

// Whoever checks for real asks an RPC of their own choice, not the one that the coordinator names.
const rpc = new JsonRpcProvider(rpcUrl, undefined, { staticNetwork: true });
try {
  const links = [];
  for await (const link of verifyReceipt(receipt, {
    chain: (where, batch) => readChainFacts(rpc, where, batch),
    result: () => requester.result(task.id),
  })) {
    console.log(link.status.padEnd(9), link.name.padEnd(14), link.detail);
    links.push(link);
  }
  const verdict = verdictOf(links);
  console.log(verdict);
  if (verdict !== "verified") process.exitCode = 1;
} finally {
  rpc.destroy();
}
