/**
 * The local chain as a separate program: Hardhat's EVM behind JSON-RPC, with its state in memory.
 * `node scripts/local/chain-server.ts <host> <port>` sends "ready" to its parent once it answers.
 */
import hre from "hardhat";

const [host = "127.0.0.1", port = "8545"] = process.argv.slice(2);
const server = await hre.network.createServer("local", host, Number(port));
await server.listen();
process.send?.("ready");

process.once("SIGTERM", () => {
  void server.close().finally(() => process.exit(0));
});
