import { formatEther, type JsonRpcProvider, Transaction, toQuantity } from "ethers";
import type { RpcFault, RpcRequest } from "./rpc-proxy.ts";

/** Rules of XDC's nodes that a simulated chain lacks. */
export interface XdcRules {
  /** The pool's minimum price of a unit of gas, in wei, and the answer of `eth_gasPrice`. */
  minGasPrice: bigint;
}

const MAX_BYTES = 64 * 1024;
const MAX_COST = 10n ** 18n;
const MAX_NONCE_AHEAD = 10;

/** A proxy's fault that makes a chain as strict as an XDC node, with the messages of XDPoSChain and geth. */
export function xdcRules(chain: () => JsonRpcProvider, rules: XdcRules) {
  return async ({ method, params }: RpcRequest): Promise<RpcFault> => {
    if (method === "eth_gasPrice") return { result: toQuantity(rules.minGasPrice) };
    if (method !== "eth_sendRawTransaction") return undefined;
    const raw = params[0] as string;
    const { gasLimit, gasPrice, maxFeePerGas, from, nonce } = Transaction.from(raw);
    const refuse = (message: string) => ({ code: -32000, message });
    const bytes = raw.length / 2 - 1;
    if (bytes > MAX_BYTES) return refuse(`oversized data: transaction size ${bytes}, limit ${MAX_BYTES}`);
    const fee = (maxFeePerGas ?? gasPrice)!;
    const cost = gasLimit * fee;
    if (cost > MAX_COST) return refuse(`tx fee (${formatEther(cost)} ether) exceeds the configured cap (1.00 ether)`);
    if (fee < rules.minGasPrice) return refuse("under min gas price");
    const next = await chain().getTransactionCount(from!, "pending");
    return nonce > next + MAX_NONCE_AHEAD ? refuse("nonce too high") : undefined;
  };
}
