import { fileURLToPath } from "node:url";
import type { Hex } from "@proof-of-compute/proto";
import {
  type BaseContract,
  BrowserProvider,
  Contract,
  ContractFactory,
  type ContractTransactionResponse,
  Interface,
  type JsonRpcSigner,
  type TransactionReceipt,
} from "ethers";
import { createHardhatRuntimeEnvironment } from "hardhat/hre";
import { expect } from "vitest";
import config from "../../hardhat.config.ts";
import { proofOfComputeArtifact } from "../../scripts/lib/artifact.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** ProofOfCompute on an EVM in this process, each call made as whoever is named. */
export class ContractFixture {
  readonly interface = new Interface(proofOfComputeArtifact().abi);
  readonly deployment: TransactionReceipt;
  readonly address: string;
  readonly owner: JsonRpcSigner;
  readonly recorder: JsonRpcSigner;
  readonly other: JsonRpcSigner;
  readonly #close: () => Promise<void>;
  readonly #provider: BrowserProvider;

  private constructor(
    provider: BrowserProvider,
    signers: readonly JsonRpcSigner[],
    deployment: TransactionReceipt,
    close: () => Promise<void>,
  ) {
    this.#provider = provider;
    [this.owner, this.recorder, this.other] = signers as [JsonRpcSigner, JsonRpcSigner, JsonRpcSigner];
    this.deployment = deployment;
    this.address = deployment.contractAddress!;
    this.#close = close;
  }

  /** Deploys with an owner and a recorder of their own. */
  static async deploy(): Promise<ContractFixture> {
    const hre = await createHardhatRuntimeEnvironment(config, {}, ROOT);
    const connection = await hre.network.create("local");
    const provider = new BrowserProvider(connection.provider, 31337, { cacheTimeout: -1 });
    const signers = await Promise.all([0, 1, 2].map((index) => provider.getSigner(index)));
    const [owner, recorder] = signers as [JsonRpcSigner, JsonRpcSigner];
    const { abi, bytecode } = proofOfComputeArtifact();
    const contract = await new ContractFactory(abi, bytecode, owner).deploy(owner.address, recorder.address);
    const deployment = (await contract.deploymentTransaction()!.wait())!;
    return new ContractFixture(provider, signers, deployment, async () => {
      provider.destroy();
      await connection.close();
    });
  }

  async end(): Promise<void> {
    await this.#close();
  }

  /** Answer of a view. */
  async read(name: string, ...values: unknown[]): Promise<unknown> {
    return this.#as(this.other).getFunction(name)(...values);
  }

  /** Sends a transaction and waits for it. */
  async send(signer: JsonRpcSigner, name: string, ...values: unknown[]): Promise<TransactionReceipt> {
    const sent: ContractTransactionResponse = await this.#as(signer).getFunction(name)(...values);
    return (await sent.wait())!;
  }

  /** Events of a receipt, each as its name and its arguments. */
  events(receipt: TransactionReceipt): unknown[][] {
    return receipt.logs.map((log) => {
      const event = this.interface.parseLog(log)!;
      return [event.name, ...event.args];
    });
  }

  /** Expects that a call is refused with exactly this error and these arguments, and changes nothing. */
  async expectRefusal(call: Promise<unknown>, error: string, ...values: unknown[]): Promise<void> {
    const refusal: { data?: Hex } = await call.then(
      () => expect.fail(`${error} was expected, but nothing was refused`),
      (cause) => cause,
    );
    expect(refusal.data, String(refusal)).toBeTypeOf("string");
    const revert = this.interface.parseError(refusal.data!)!;
    expect([revert.name, ...revert.args]).toEqual([error, ...values]);
  }

  /** Remembers the state; the returned function brings it back. */
  async snapshot(): Promise<() => Promise<void>> {
    const id = await this.#provider.send("evm_snapshot", []);
    return async () => {
      await this.#provider.send("evm_revert", [id]);
    };
  }

  #as(signer: JsonRpcSigner): BaseContract {
    return new Contract(this.address, this.interface, signer);
  }
}
