import type { JsonRpcApiProvider } from "ethers";

/** What a transaction offers for gas, in wei. `type` 2 has a tip; `type` 0 is for chains whose blocks have no base fee. */
export type Fee =
  | { readonly type: 2; readonly maxFeePerGas: bigint; readonly maxPriorityFeePerGas: bigint }
  | { readonly type: 0; readonly gasPrice: bigint };

/**
 * Reads from the chain what it wants for gas now. The price always comes from `eth_gasPrice`: XDC's pool refuses less,
 * and has dearer tiers than its base fee tells. Twice the base fee leaves room for it to rise while the transaction waits.
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

/** The most that a unit of gas can cost at that fee. */
export function feeCap(fee: Fee): bigint {
  return fee.type === 2 ? fee.maxFeePerGas : fee.gasPrice;
}

/** The fee, raised by an eighth at least over `previous`: what pools demand (a tenth) for replacing a transaction. */
export function raiseFee(fee: Fee, previous: Fee): Fee {
  const raise = (now: bigint, before: bigint) => {
    const least = before + before / 8n + 1n;
    return now > least ? now : least;
  };
  if (fee.type === 2) {
    const tip = previous.type === 2 ? previous.maxPriorityFeePerGas : 0n;
    return {
      type: 2,
      maxFeePerGas: raise(fee.maxFeePerGas, feeCap(previous)),
      maxPriorityFeePerGas: raise(fee.maxPriorityFeePerGas, tip),
    };
  }
  return { type: 0, gasPrice: raise(fee.gasPrice, feeCap(previous)) };
}
