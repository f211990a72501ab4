import { readFileSync } from "node:fs";
import type { InterfaceAbi } from "ethers";

const ARTIFACT = new URL("../../artifacts/contracts/ProofOfCompute.sol/ProofOfCompute.json", import.meta.url);

/** The compiled `contracts/ProofOfCompute.sol`. Throws if it was not compiled; the message says what to do. */
export function proofOfComputeArtifact(): { readonly abi: InterfaceAbi; readonly bytecode: string } {
  try {
    return JSON.parse(readFileSync(ARTIFACT, "utf8"));
  } catch (cause) {
    throw new Error("the contract is not compiled yet: run `npx hardhat compile`", { cause });
  }
}
