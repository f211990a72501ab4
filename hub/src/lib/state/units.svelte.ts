import type { Address } from "@proof-of-compute/proto";
import { type Config, messageOf } from "#lib/api/client.ts";
import type { ContractReader, UnitsReading } from "#lib/chain/contract.ts";

/** A wallet's units in the contract, and why the last reading failed, if it did. */
export class Units {
  reading = $state.raw<UnitsReading>();
  error = $state<string>();
  /** When they were read, in milliseconds since 1970. */
  readAt = $state(0);

  readonly #config: Config;
  readonly #wallet: Address;
  #readings = 0;
  #reader: Promise<ContractReader> | undefined;

  constructor(config: Config, wallet: Address) {
    this.#config = config;
    this.#wallet = wallet;
  }

  /** Reads the contract. An error is kept beside the last successful reading. */
  async refresh(): Promise<void> {
    const { rpcUrl, chainId, contractAddress } = this.#config;
    if (rpcUrl === null || chainId === null || contractAddress === null) return;
    const turn = ++this.#readings;
    try {
      // Loaded on demand: ethers is the largest part of the hub.
      this.#reader ??= import("#lib/chain/contract.ts").then(({ contractReader }) =>
        contractReader({ rpcUrl, chainId, contractAddress }),
      );
      const reader = await this.#reader;
      const reading = await reader.computeUnits(this.#wallet);
      // The reading that started last counts, whichever ends first.
      if (turn !== this.#readings) return;
      this.reading = reading;
      this.readAt = Date.now();
      this.error = undefined;
    } catch (error) {
      if (turn === this.#readings) this.error = messageOf(error);
    }
  }
}
