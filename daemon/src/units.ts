import { setTimeout as delay } from "node:timers/promises";
import { type Address, addressFromBytes, networkByChainId, reasonOf, toHex } from "@proof-of-compute/proto";
import { Contract, FetchRequest, JsonRpcProvider } from "ethers";
import type { Logger } from "pino";
import { printable } from "./printable.ts";

const INTERVAL_MS = 15_000;
const REQUEST_MS = 10_000;
const ABI = ["function computeUnits(address provider) view returns (uint256)"];

/** Where units are recorded, as a coordinator's Welcome names it. */
export interface UnitsContract {
  readonly chainId: bigint;
  /** 20 bytes. */
  readonly contract: Uint8Array;
}

/** What the contract holds for a wallet. */
export interface RecordedUnits {
  /** As last read; undefined before the first read. */
  readonly units: bigint | undefined;
  /** Name of the chain, for people; undefined while none is known. */
  readonly chain: string | undefined;
  /** Why there is no fresh number, for people. */
  readonly problem: string | undefined;
}

/** Reads a wallet's units straight from the contract, every 15 seconds, so that providers need not trust a coordinator. */
export class UnitsReader {
  readonly #logger: Logger;
  readonly #wallet: Address;
  readonly #rpcUrl: string | undefined;
  #recorded: RecordedUnits = { units: undefined, chain: undefined, problem: undefined };
  #followed: string | undefined;
  #following: AbortController | undefined;

  /** `rpcUrl` replaces the chain's public one. */
  constructor(components: { readonly logger: Logger }, init: { readonly wallet: Address; readonly rpcUrl?: string }) {
    this.#logger = components.logger;
    this.#wallet = init.wallet;
    this.#rpcUrl = init.rpcUrl;
  }

  get recorded(): RecordedUnits {
    return this.#recorded;
  }

  /** Reads from this contract from now on. Safe to repeat. */
  follow({ chainId, contract }: UnitsContract): void {
    const key = `${chainId}:${toHex(contract)}`;
    if (key === this.#followed) return;
    this.stop();
    this.#followed = key;
    if (chainId === 0n) {
      this.#recorded = {
        units: undefined,
        chain: undefined,
        problem: "the coordinator does not record on a chain yet",
      };
      return;
    }
    const network = networkByChainId(Number(chainId));
    const chain = network?.title ?? `chain ${chainId}`;
    const url = this.#rpcUrl ?? network?.rpcUrl;
    if (url === undefined) {
      this.#recorded = { units: undefined, chain, problem: "give --rpc-url to read them" };
      return;
    }
    this.#recorded = { units: undefined, chain, problem: undefined };
    this.#following = new AbortController();
    void this.#poll(url, chain, Number(chainId), addressFromBytes(contract), this.#following.signal);
  }

  /** Stops reading. Safe to repeat. */
  stop(): void {
    this.#following?.abort();
    this.#following = undefined;
    this.#followed = undefined;
  }

  async #poll(url: string, chain: string, chainId: number, address: Address, signal: AbortSignal): Promise<void> {
    // User, password, path and query may be a key.
    const { origin } = new URL(url);
    const request = new FetchRequest(url);
    request.timeout = REQUEST_MS;
    const provider = new JsonRpcProvider(request, chainId, { staticNetwork: true, cacheTimeout: -1 });
    const contract = new Contract(address, ABI, provider);
    while (!signal.aborted) {
      try {
        const units: bigint = await contract.getFunction("computeUnits")(this.#wallet);
        if (!signal.aborted) this.#recorded = { units, chain, problem: undefined };
      } catch (error) {
        if (signal.aborted) break;
        const problem = `cannot read from ${origin}`;
        if (this.#recorded.problem !== problem)
          this.#logger.warn({ rpc: origin, why: printable(reasonOf(error)) }, "cannot read units from the chain");
        this.#recorded = { units: this.#recorded.units, chain, problem };
      }
      await delay(INTERVAL_MS, undefined, { signal, ref: false }).catch(() => {});
    }
    provider.destroy();
  }
}
