import { join, resolve } from "node:path";
import { NETWORKS } from "@proof-of-compute/proto";
import { Command } from "commander";
import { type Listener, readAddress } from "./ports.ts";

/** What `npm start` was told. */
export interface LocalSettings {
  readonly dataDir: string;
  readonly grpc: Listener;
  readonly http: Listener;
  /** Where the local chain is to listen, or the chain that was named instead of it. */
  readonly chain: Listener | { readonly rpcUrl: string; readonly contract: string | undefined };
  /** Whether to ask for the showcase task. */
  readonly task: boolean;
}

const LOCAL_CHAIN = new URL(NETWORKS.find(({ name }) => name === "local")!.rpcUrl).host;

/** Reads flags over the environment. Exits, as commander does, on --help and on a flag that it does not know. */
export function readLocalSettings(argv: readonly string[], env: NodeJS.ProcessEnv): LocalSettings {
  const options = new Command("npm start --")
    .description(
      "The whole network on this machine: a chain, the contract, a coordinator with the hub, and one daemon. Asks for one " +
        "task, shows the evidence of every step, and stays up until Ctrl-C.",
    )
    .option("--data-dir <folder>", "where everything is kept [DATA_DIR]", env.DATA_DIR || ".data")
    .option("--http-address <host:port>", "hub and REST [HTTP_ADDRESS]", env.HTTP_ADDRESS || "127.0.0.1:3000")
    .option("--grpc-address <host:port>", "where nodes connect [GRPC_ADDRESS]", env.GRPC_ADDRESS || "127.0.0.1:50051")
    .option("--chain-address <host:port>", "where the local chain listens", LOCAL_CHAIN)
    .option("--no-task", "ask for no task")
    .addHelpText(
      "after",
      "\nWith XDC_RPC_URL set that chain is used instead of a local one; PROOF_OF_COMPUTE_ADDRESS and RECORDER_KEYSTORE (or" +
        "\nRECORDER_PRIVATE_KEY) must name a deployed contract and the wallet that records (`npm run deploy`).",
    )
    .parse(["node", "npm-start", ...argv])
    .opts<{ dataDir: string; httpAddress: string; grpcAddress: string; chainAddress: string; task: boolean }>();
  return {
    dataDir: resolve(options.dataDir),
    grpc: readAddress(options.grpcAddress, "the coordinator's node stream", "--grpc-address"),
    http: readAddress(options.httpAddress, "the hub", "--http-address"),
    chain: env.XDC_RPC_URL
      ? { rpcUrl: env.XDC_RPC_URL, contract: env.PROOF_OF_COMPUTE_ADDRESS || undefined }
      : readAddress(options.chainAddress, "the local chain", "--chain-address"),
    task: options.task,
  };
}

/** Where things are kept below the data folder. */
export function foldersOf(dataDir: string) {
  return {
    logs: join(dataDir, "logs"),
    keys: join(dataDir, "local"),
    coordinator: join(dataDir, "coordinator"),
    daemon: join(dataDir, "local", "daemon"),
  };
}
