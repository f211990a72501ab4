import { readFileSync } from "node:fs";
import type { InterfaceAbi } from "ethers";

const ARTIFACT = new URL("../../artifacts/contracts/ProofOfCompute.sol/ProofOfCompute.json", import.meta.url);

/** What the compiler made of `contracts/ProofOfCompute.sol`. Throws, saying what to do, when it was not compiled. */
export function proofOfComputeArtifact(): { readonly abi: InterfaceAbi; readonly bytecode: string } {
  try {
    return JSON.parse(readFileSync(ARTIFACT, "utf8"));
  } catch (cause) {
    throw new Error("the contract is not compiled yet: run `npx hardhat compile`", { cause });
  }
}
