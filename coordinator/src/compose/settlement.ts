import type { Address } from "@proof-of-compute/proto";
import { EthersChain } from "../adapters/ethers-chain.ts";
import type { Batch } from "../domain/batch.ts";
import type { Store } from "../ports/store.ts";
import type { SettlementPeers } from "../services/settlement/lock.ts";
import { Settlement } from "../services/settlement/settlement.ts";
import type { SettlementStatus } from "../services/settlement/status.ts";
import { BatchProofs } from "../services/settlement/trees/batch-proofs.ts";
import { ReceiptTrees } from "../services/settlement/trees/pool.ts";
import { readRecorderKey } from "../settings/recorder-key.ts";
import type { Settings } from "../settings/table.ts";
import { type Base, closing } from "./part.ts";

/** Settlement, on or off. */
export interface SettlementPart extends AsyncDisposable {
  /** The contract that records units; undefined: settlement is off. */
  readonly contract: { readonly chainId: number; readonly address: Address } | undefined;
  status(): SettlementStatus;
  /** Tells settlement that a receipt was stored. */
  nudge(): void;
}

interface Components {
  readonly store: Store;
  readonly peers: SettlementPeers;
}

/** Starts settlement, if the settings name a chain. Throws UNAVAILABLE and STORE_BOUND_ELSEWHERE. */
export async function openSettlement(base: Base, components: Components, settings: Settings): Promise<SettlementPart> {
  const { logger, metrics, events } = base;
  if (settings.XDC_RPC_URL === undefined) {
    logger.warn("settlement is off: XDC_RPC_URL is not set; receipts accumulate");
    return {
      contract: undefined,
      status: () => ({ state: "off", openBatches: 0 }),
      nudge: () => {},
      [Symbol.asyncDispose]: async () => {},
    };
  }
  await using opening = new AsyncDisposableStack();
  const chain = await openChain(base, components.store, settings.XDC_RPC_URL, settings);
  opening.use(closing(base, "chain", () => chain.stop()));
  const trees = new ReceiptTrees();
  opening.use(closing(base, "receipt trees", () => trees.stop()));
  const onChange = ({ state }: Batch) => {
    metrics.batches.inc({ state });
    events.publishAll();
  };
  const settlement = new Settlement(
    { ...base, ...components, chain, trees, onChange },
    {
      maxReceipts: settings.BATCH_MAX_RECEIPTS,
      maxProviders: settings.BATCH_MAX_PROVIDERS,
      maxWaitMs: settings.BATCH_MAX_WAIT,
      pollMs: settings.CHAIN_POLL_INTERVAL,
      resendMs: settings.BATCH_RESEND_AFTER,
      rebind: settings.REBIND,
    },
  );
  await settlement.start();
  opening.use(closing(base, "settlement", () => settlement.stop()));
  metrics.follow(() => settlement.status());
  const parts = opening.move();
  return {
    contract: { chainId: chain.chainId, address: chain.contract },
    status: () => settlement.status(),
    nudge: () => settlement.nudge(),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/**
 * Merkle proofs for readers. They have a worker of their own, so that readers never delay the closing of a batch.
 */
export function openProofs(
  base: Base,
  { store }: Pick<Components, "store">,
): { readonly proofs: BatchProofs } & AsyncDisposable {
  const trees = new ReceiptTrees();
  return { proofs: new BatchProofs({ store, trees }), ...closing(base, "batch proofs", () => trees.stop()) };
}

/** Connects to the chain. If the RPC does not answer, a store that is bound to the contract knows the chain id. */
async function openChain(base: Base, store: Store, rpcUrl: string, settings: Settings): Promise<EthersChain> {
  const contract = settings.PROOF_OF_COMPUTE_ADDRESS!;
  const init = { rpcUrl, contract, recorderKey: await readRecorderKey(settings) };
  const bound = await store.boundTo();
  return EthersChain.connect(base, init).catch((error: unknown) => {
    if (bound?.address !== contract) throw error;
    base.logger.warn({ err: error, chainId: bound.chainId }, "the chain is away; receipts accumulate until it is back");
    return new EthersChain(base, { ...init, chainId: bound.chainId });
  });
}
