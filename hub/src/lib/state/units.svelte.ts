import type { Address } from "@proof-of-compute/proto";
import { type Config, messageOf } from "#lib/api/client.ts";
import type { ContractReader, UnitsReading } from "#lib/chain/contract.ts";

/** A wallet's units as the contract has them, with what stood in the way of the last reading. */
export class Units {
  reading = $state.raw<UnitsReading>();
  error = $state<string>();
  /** When the reading was taken, in ms since 1970. */
  readAt = $state(0);

  readonly #config: Config;
  readonly #wallet: Address;
  #readings = 0;
  #reader: Promise<ContractReader> | undefined;

  constructor(config: Config, wallet: Address) {
    this.#config = config;
    this.#wallet = wallet;
  }

  /** Reads the contract; an error is kept for showing, beside the last good reading. */
  async refresh(): Promise<void> {
    const { rpcUrl, chainId, contractAddress } = this.#config;
    if (rpcUrl === null || chainId === null || contractAddress === null) return;
    const turn = ++this.#readings;
    try {
      // ethers is the largest part of the hub, and only this needs it: it is fetched when it is used.
      this.#reader ??= import("#lib/chain/contract.ts").then(({ contractReader }) =>
        contractReader({ rpcUrl, chainId, contractAddress }),
      );
      const reader = await this.#reader;
      const reading = await reader.computeUnits(this.#wallet);
      // A reading that was asked for later is newer, whichever answer comes first.
      if (turn !== this.#readings) return;
      this.reading = reading;
      this.readAt = Date.now();
      this.error = undefined;
    } catch (error) {
      if (turn === this.#readings) this.error = messageOf(error);
    }
  }
}
