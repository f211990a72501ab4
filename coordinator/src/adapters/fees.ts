import type { JsonRpcApiProvider } from "ethers";

/** The price that a transaction offers for a unit of gas, in wei. Type 0 is for chains without a base fee. */
export type Fee =
  | { readonly type: 2; readonly maxFeePerGas: bigint; readonly maxPriorityFeePerGas: bigint }
  | { readonly type: 0; readonly gasPrice: bigint };

/**
 * Reads the present price of gas from the chain, always by `eth_gasPrice`: XDC's pool refuses less, and has tiers above its
 * base fee. Twice the base fee allows it to rise while the transaction waits.
 */
export async function readFee(provider: JsonRpcApiProvider): Promise<Fee> {
  const [price, block] = await Promise.all([
    provider.send("eth_gasPrice", []) as Promise<string>,
    provider.send("eth_getBlockByNumber", ["latest", false]) as Promise<{ baseFeePerGas?: string } | null>,
  ]);
  const gasPrice = BigInt(price);
  if (!block?.baseFeePerGas) return { type: 0, gasPrice };
  const base = BigInt(block.baseFeePerGas);
  const tip = gasPrice > base ? gasPrice - base : 0n;
  return { type: 2, maxFeePerGas: 2n * base + tip, maxPriorityFeePerGas: tip };
}

/** The most that a unit of gas can cost. */
export function feePerGas(fee: Fee): bigint {
  return fee.type === 2 ? fee.maxFeePerGas : fee.gasPrice;
}

/** The most that the block's producer gets for a unit of gas. */
export function tipPerGas(fee: Fee): bigint {
  return fee.type === 2 ? fee.maxPriorityFeePerGas : fee.gasPrice;
}

/** The least that the chain would accept, from a fee of {@link readFee}. */
export function leastFeePerGas(fee: Fee): bigint {
  if (fee.type === 0) return fee.gasPrice;
  return (fee.maxFeePerGas - fee.maxPriorityFeePerGas) / 2n + fee.maxPriorityFeePerGas;
}

/** `fee`, limited to `most` wei for a unit of gas. */
export function capFee(fee: Fee, most: bigint): Fee {
  if (feePerGas(fee) <= most) return fee;
  if (fee.type === 0) return { type: 0, gasPrice: most };
  const tip = fee.maxPriorityFeePerGas < most ? fee.maxPriorityFeePerGas : most;
  return { type: 2, maxFeePerGas: most, maxPriorityFeePerGas: tip };
}

/** What a transaction offers for a unit of gas, in wei. */
export interface FeeOffer {
  readonly feePerGas: bigint;
  readonly tipPerGas: bigint;
}

/** The earlier offer, as a fee of the type of `fee`. */
export function sameFee(fee: Fee, before: FeeOffer): Fee {
  if (fee.type === 0) return { type: 0, gasPrice: before.feePerGas };
  return { type: 2, maxFeePerGas: before.feePerGas, maxPriorityFeePerGas: before.tipPerGas };
}

/** `fee`, raised to at least an eighth above `previous`. Pools demand a tenth for a replacement. */
export function raiseFee(fee: Fee, previous: FeeOffer): Fee {
  const atLeast = (now: bigint, before: bigint) => {
    const least = before + before / 8n + 1n;
    return now > least ? now : least;
  };
  if (fee.type === 0) return { type: 0, gasPrice: atLeast(fee.gasPrice, previous.feePerGas) };
  return {
    type: 2,
    maxFeePerGas: atLeast(fee.maxFeePerGas, previous.feePerGas),
    maxPriorityFeePerGas: atLeast(fee.maxPriorityFeePerGas, previous.tipPerGas),
  };
}
