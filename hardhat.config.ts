import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parseEnv } from "node:util";
import hardhatVerify from "@nomicfoundation/hardhat-verify";
import { NETWORKS } from "@proof-of-compute/proto/networks";
import { configVariable, defineConfig } from "hardhat/config";

const require = createRequire(import.meta.url);
const remote = NETWORKS.filter((network) => network.name !== "local");

// Of .env nothing but this, because tests and the local chain load this file too.
const dotenv = existsSync(".env") ? parseEnv(readFileSync(".env", "utf8")) : {};
const apiKey = (!process.env.ETHERSCAN_API_KEY && dotenv.ETHERSCAN_API_KEY) || configVariable("ETHERSCAN_API_KEY");

export default defineConfig({
  plugins: [hardhatVerify],
  solidity: {
    version: "0.8.37",
    // The compiler of the npm package, so that compiling works without a network.
    path: require.resolve("solc/soljson.js"),
    settings: {
      // XDC has Cancun and nothing newer; OpenZeppelin needs mcopy.
      evmVersion: "cancun",
      optimizer: { enabled: true, runs: 10_000 },
    },
  },
  networks: {
    local: { type: "edr-simulated", chainId: 31337, hardfork: "cancun", loggingEnabled: false },
    ...Object.fromEntries(
      remote.map(({ name, chainId, rpcUrl }) => [name, { type: "http" as const, chainId, url: rpcUrl }]),
    ),
  },
  // hardhat-verify knows no XDC; XDCScan answers under Etherscan's V2 address.
  chainDescriptors: Object.fromEntries(
    remote.map(({ chainId, title, explorerUrl }) => [
      chainId,
      { name: title, blockExplorers: { etherscan: { name: "XDCScan", url: explorerUrl! } } },
    ]),
  ),
  verify: { etherscan: { apiKey } },
});
