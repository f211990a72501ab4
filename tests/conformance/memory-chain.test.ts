import { MemoryChain } from "@proof-of-compute/coordinator/adapters/memory/chain";
import { describe } from "vitest";
import { someWallet } from "../support/settling.ts";
import { describeChain, LAG } from "./chain.ts";

describe("the chain in memory", () => {
  describeChain(async () => {
    const recorder = someWallet();
    const chain = new MemoryChain({ chainId: 31337, contract: someWallet(), recorder, lag: LAG });
    return {
      chain,
      mine: async (blocks) => chain.mine(blocks),
      setAutoMine: async (on) => {
        chain.autoMine = on;
      },
      setPaused: async (on) => {
        chain.paused = on;
      },
      setRecorder: async (isOurs) => {
        chain.allowed = isOurs ? recorder : someWallet();
      },
      setBalance: async (wei) => {
        chain.balance = wei;
      },
      mark: async () => {
        const takeBack = chain.mark();
        return async () => takeBack();
      },
    };
  });
});
