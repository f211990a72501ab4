import { Contract, Interface, isError, type JsonRpcApiProvider, ZeroHash } from "ethers";
import { type Address, parseAddress } from "../address.ts";
import type { Hex } from "../bytes.ts";
import { PROOF_OF_COMPUTE_ABI } from "../contract.ts";
import type { ChainFacts } from "./receipt.ts";

const ABI = new Interface(PROOF_OF_COMPUTE_ABI);

/** Maximum span of a log query on XDC, in blocks. */
const LOG_SPAN = 2_000;

interface Where {
  readonly chainId: number;
  readonly contract: Hex;
}

/** Reads the facts behind a receipt at one final block, through the caller's connection. */
export async function readChainFacts(
  provider: JsonRpcApiProvider,
  { contract }: Where,
  batch: { readonly id: number; readonly transaction: Hex | undefined },
): Promise<ChainFacts> {
  const chainId = Number(await provider.send("eth_chainId", []));
  const final = await provider.getBlock("finalized");
  if (!final) throw new Error("the chain has no final block yet");
  const block = final.number;
  const root: Hex = await new Contract(contract, ABI, provider)
    .getFunction("rootOf")(batch.id, { blockTag: block })
    .catch((cause: unknown) => {
      throw isError(cause, "BAD_DATA") ? new Error(`no ProofOfCompute contract answers at ${contract}`) : cause;
    });
  return {
    chainId,
    block,
    root: root === ZeroHash ? null : root,
    ...(batch.transaction && { transaction: await readTransaction(provider, contract, batch.transaction) }),
  };
}

async function readTransaction(provider: JsonRpcApiProvider, contract: Hex, hash: Hex) {
  const found = await provider.getTransactionReceipt(hash);
  if (!found) return null;
  const recorded = found.logs.flatMap((log) => {
    const event = log.address.toLowerCase() === contract.toLowerCase() ? ABI.parseLog(log) : null;
    if (event?.name !== "BatchRecorded") return [];
    return [{ batchId: Number(event.args.getValue("batchId")), root: event.args.getValue("root") as Hex }];
  });
  return { block: found.blockNumber, recorded };
}

/** Finds the transaction that recorded a batch in the contract's events of the last `blocks` blocks. Null when there is none. */
export async function findRecording(
  provider: JsonRpcApiProvider,
  contract: Hex,
  batchId: number,
  blocks: number,
): Promise<Hex | null> {
  const final = await provider.getBlock("finalized");
  const topics = ABI.encodeFilterTopics("BatchRecorded", [batchId]);
  let to = final?.number ?? -1;
  for (const end = to - blocks; to >= 0 && to > end; to -= LOG_SPAN) {
    const from = Math.max(0, to - LOG_SPAN + 1);
    const [log] = await provider.getLogs({ address: contract, topics, fromBlock: from, toBlock: to });
    if (log) return log.transactionHash as Hex;
  }
  return null;
}

/** What a batch credits to one wallet. */
export interface Credit {
  readonly provider: Address;
  readonly units: bigint;
}

/** The credits in the data of the transaction that recorded a batch. Throws when `transaction` did not record it. */
export async function readCredits(
  provider: JsonRpcApiProvider,
  contract: Hex,
  batchId: number,
  transaction: Hex,
): Promise<Credit[]> {
  const recording = await readTransaction(provider, contract, transaction);
  if (!recording?.recorded.some((event) => event.batchId === batchId)) {
    throw new Error(`${transaction} did not record batch ${batchId}`);
  }
  const sent = await provider.getTransaction(transaction);
  const call = sent?.to?.toLowerCase() === contract.toLowerCase() ? ABI.parseTransaction(sent) : null;
  if (call?.name !== "recordBatch") throw new Error(`${transaction} does not call the contract directly`);
  const credits: { provider: string; units: bigint }[] = call.args.getValue("credits");
  return credits.map((credit) => ({ provider: parseAddress(credit.provider), units: credit.units }));
}
