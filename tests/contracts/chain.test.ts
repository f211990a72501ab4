import { EthersChain } from "@proof-of-compute/coordinator/adapters/ethers-chain";
import { PROOF_OF_COMPUTE_ABI } from "@proof-of-compute/proto";
import { Contract, toQuantity, Wallet } from "ethers";
import { pino } from "pino";
import { describe, onTestFinished } from "vitest";
import { describeChain, LAG } from "../conformance/chain.ts";
import { startLocalChain } from "../support/local-chain.ts";
import { startRpcProxy } from "../support/rpc-proxy.ts";
import { someWallet } from "../support/settling.ts";

describe("the contract over JSON-RPC", () => {
  describeChain(async () => {
    const local = await startLocalChain();
    const { address: contract, recorderKey, ownerKey } = await local.deploy();
    const proxy = await startRpcProxy(local.url, { lag: LAG });
    const chain = await EthersChain.connect(
      { logger: pino({ level: "silent" }) },
      { rpcUrl: proxy.url, contract, recorderKey },
    );
    onTestFinished(async () => {
      chain.stop();
      await proxy.stop();
      await local.stop();
    });
    const { provider } = local;
    const recorder = new Wallet(recorderKey).address;
    const owned = new Contract(contract, PROOF_OF_COMPUTE_ABI, new Wallet(ownerKey, provider));
    const call = async (name: string, ...values: unknown[]) =>
      void (await (await owned.getFunction(name)(...values)).wait());
    const mine = async (blocks: number) => void (await provider.send("hardhat_mine", [toQuantity(blocks)]));
    // The finalized block has the contract.
    await mine(LAG);
    return {
      chain,
      mine,
      setAutoMine: async (on) => void (await provider.send("evm_setAutomine", [on])),
      setPaused: (on) => call(on ? "pause" : "unpause"),
      setRecorder: (isOurs) => call("setRecorder", isOurs ? recorder : someWallet()),
      setBalance: async (wei) => void (await provider.send("hardhat_setBalance", [recorder, toQuantity(wei)])),
      mark: async () => {
        const snapshot = await provider.send("evm_snapshot", []);
        return async () => void (await provider.send("evm_revert", [snapshot]));
      },
    };
  });
});
